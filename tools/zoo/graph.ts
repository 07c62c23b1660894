/** Builds ONNX graphs layer by layer, with seeded weights. */
import { Random } from "../../src/core/random.ts";
import {
  type Attribute,
  AttributeType,
  encodeModel,
  type Node,
  type Tensor,
  type ValueInfo,
} from "../../src/worker/onnx/proto.ts";

const FLOAT = 1;
const INT64 = 7;
/** The first with LayerNormalization. */
const OPSET = 17;

/** Fills a weight: `size` values, uniform in `centre` ± `spread`. */
export type Fill = (size: number, spread: number, centre: number) => Uint8Array;

/** Weights that are the same by seed. */
export function seededFill(seed: number): Fill {
  const random = new Random(seed);
  return (size, spread, centre) => {
    const values = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      values[i] = centre + (random.uint32() / 0x8000_0000 - 1) * spread;
    }
    return new Uint8Array(values.buffer);
  };
}

/** No weights at all: to count parameters. */
export const noFill: Fill = () => new Uint8Array();

export interface ConvOptions {
  readonly stride?: number;
  readonly pad?: number;
  readonly groups?: number;
  /** False where a normalization follows. */
  readonly bias?: boolean;
}

/** A tensor of the graph on its way: its name, and its channels or features. */
export interface Value {
  readonly name: string;
  readonly channels: number;
}

export class GraphBuilder {
  readonly #fill: Fill;
  readonly #nodes: Node[] = [];
  readonly #initializers: Tensor[] = [];
  readonly #inputs: ValueInfo[] = [];
  readonly #counts = new Map<string, number>();
  #parameters = 0;

  constructor(fill: Fill) {
    this.#fill = fill;
  }

  /** Trained values so far: what is published as a network's number of parameters. */
  get parameters(): number {
    return this.#parameters;
  }

  /** An input of the graph; each dimension but the batch. */
  input(name: string, dims: readonly number[], type: "float32" | "int64" = "float32"): string {
    this.#inputs.push(valueInfo(name, dims, type === "float32" ? FLOAT : INT64));
    return name;
  }

  /** A trained weight. */
  weight(dims: readonly number[], spread: number, centre = 0): string {
    const size = dims.reduce((product, dim) => product * dim, 1);
    this.#parameters += size;
    return this.#initializer(dims, FLOAT, this.#fill(size, spread, centre));
  }

  /** A number that is part of the architecture. */
  constant(value: number): string {
    return this.#initializer([], FLOAT, new Uint8Array(Float32Array.of(value).buffer));
  }

  /** Shapes, indices: a vector, or a scalar when a number is given. */
  integers(values: readonly number[] | number): string {
    const list = typeof values === "number" ? [values] : values;
    const data = BigInt64Array.from(list, (value) => BigInt(value));
    const dims = typeof values === "number" ? [] : [list.length];
    return this.#initializer(dims, INT64, new Uint8Array(data.buffer));
  }

  /** Adds a node with one output, whose name it returns. */
  node(opType: string, input: readonly string[], attribute: Attribute[] = []): string {
    const output = this.#name(opType);
    this.#nodes.push({ name: output, opType, input: [...input], output: [output], attribute });
    return output;
  }

  /** He's initialisation keeps activations in range at any depth. */
  conv(x: Value, channels: number, kernel: number, options: ConvOptions = {}): Value {
    const { stride = 1, pad = Math.floor(kernel / 2), groups = 1, bias = true } = options;
    const fanIn = x.channels / groups * kernel ** 2;
    const weight = this.weight(
      [channels, x.channels / groups, kernel, kernel],
      Math.sqrt(6 / fanIn),
    );
    const inputs = [x.name, weight, ...(bias ? [this.weight([channels], 0.05)] : [])];
    const name = this.node("Conv", inputs, [
      ints("kernel_shape", [kernel, kernel]),
      ints("pads", [pad, pad, pad, pad]),
      ints("strides", [stride, stride]),
      int("group", groups),
    ]);
    return { name, channels };
  }

  /**
   * Batch normalization with the statistics of a trained network: means near 0, variances near 1.
   * A `scale` below 1 keeps the sums of residual branches from growing with depth.
   */
  batchNorm({ name, channels }: Value, scale = 1): Value {
    const trained = [this.weight([channels], 0.1 * scale, scale), this.weight([channels], 0.1)];
    const before = this.#parameters;
    const statistics = [this.weight([channels], 0.1), this.weight([channels], 0.2, 1)];
    this.#parameters = before;
    return { name: this.node("BatchNormalization", [name, ...trained, ...statistics]), channels };
  }

  /** A node of one input that changes values one by one. */
  apply(opType: string, { name, channels }: Value, attribute: Attribute[] = []): Value {
    return { name: this.node(opType, [name], attribute), channels };
  }

  add(a: Value, b: Value): Value {
    return { name: this.node("Add", [a.name, b.name]), channels: a.channels };
  }

  pool(
    opType: "MaxPool" | "AveragePool",
    x: Value,
    kernel: number,
    stride: number,
    pad = 0,
  ): Value {
    return this.apply(opType, x, [
      ints("kernel_shape", [kernel, kernel]),
      ints("strides", [stride, stride]),
      ints("pads", [pad, pad, pad, pad]),
    ]);
  }

  /** From a map of channels to a vector of them. */
  globalPool(x: Value): Value {
    return this.apply("Flatten", this.apply("GlobalAveragePool", x));
  }

  /** A dense layer on vectors. `from` is given where flattening made more of the channels. */
  dense(x: Value, channels: number, from = x.channels, spread = Math.sqrt(3 / from)): Value {
    const inputs = [x.name, this.weight([channels, from], spread), this.weight([channels], 0.05)];
    return { name: this.node("Gemm", inputs, [int("transB", 1)]), channels };
  }

  /** A dense layer on each vector of a sequence. */
  linear(x: Value, channels: number): Value {
    const weight = this.weight([x.channels, channels], Math.sqrt(3 / x.channels));
    const product = this.node("MatMul", [x.name, weight]);
    return { name: this.node("Add", [product, this.weight([channels], 0.05)]), channels };
  }

  layerNorm({ name, channels }: Value): Value {
    const inputs = [name, this.weight([channels], 0.1, 1), this.weight([channels], 0.05)];
    return { name: this.node("LayerNormalization", inputs), channels };
  }

  reshape(name: string, dims: readonly number[]): string {
    return this.node("Reshape", [name, this.integers(dims)]);
  }

  transpose(name: string, order: number[]): string {
    return this.node("Transpose", [name], [ints("perm", order)]);
  }

  /** The file, whose output is called `output`. */
  encode(name: string, output: Value, dims: readonly number[]): Uint8Array<ArrayBuffer> {
    this.#nodes.push({ opType: "Identity", input: [output.name], output: ["output"] });
    return encodeModel({
      irVersion: 8,
      opsetImport: [{ domain: "", version: OPSET }],
      producerName: "clockwork-zoo",
      graph: {
        name,
        node: this.#nodes,
        initializer: this.#initializers,
        input: this.#inputs,
        output: [valueInfo("output", dims, FLOAT)],
      },
    });
  }

  #initializer(dims: readonly number[], dataType: number, rawData: Uint8Array): string {
    const name = this.#name("weight");
    this.#initializers.push({ name, dims: [...dims], dataType, rawData });
    return name;
  }

  #name(kind: string): string {
    const count = this.#counts.get(kind) ?? 0;
    this.#counts.set(kind, count + 1);
    return `${kind.toLowerCase()}_${count}`;
  }
}

export function ints(name: string, values: number[]): Attribute {
  return { name, ints: values, type: AttributeType.ints };
}

export function int(name: string, i: number): Attribute {
  return { name, i, type: AttributeType.int };
}

function valueInfo(name: string, dims: readonly number[], elemType: number): ValueInfo {
  const dim = [{ dimParam: "batch" }, ...dims.map((dimValue) => ({ dimValue }))];
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
}
