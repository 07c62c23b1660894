/**
 * Writes the small ONNX networks that the tests and the demo serve. Weights are seeded, so that any
 * machine writes the same bytes: `deno run -A testdata/generate.ts`.
 */
import { join } from "node:path";
import { Random } from "../src/core/random.ts";
import {
  type Attribute,
  AttributeType,
  encodeModel,
  type Graph,
  type Node,
  type Tensor,
  type ValueInfo,
} from "../src/worker/onnx/proto.ts";

const FLOAT = 1;

type Dim = number | "batch";

function value(name: string, shape: readonly Dim[], elemType = FLOAT): ValueInfo {
  const dim = shape.map((d) => d === "batch" ? { dimParam: d } : { dimValue: d });
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
}

function ints(name: string, values: number[]): Attribute {
  return { name, ints: values, type: AttributeType.ints };
}

function int(name: string, i: number): Attribute {
  return { name, i, type: AttributeType.int };
}

/** Collects the nodes and weights of one network. */
class Network {
  readonly #random: Random;
  readonly #nodes: Node[] = [];
  readonly #initializers: Tensor[] = [];

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  /** Adds a float32 weight whose values are uniform in centre ± spread; returns its name. */
  weight(name: string, dims: number[], spread: number, centre = 0): string {
    const size = dims.reduce((a, b) => a * b, 1);
    const data = Float32Array.from(
      { length: size },
      () => centre + (this.#random.float() * 2 - 1) * spread,
    );
    this.#initializers.push({ name, dims, dataType: FLOAT, rawData: new Uint8Array(data.buffer) });
    return name;
  }

  /** Adds a node with one output, which it names and returns. */
  node(opType: string, input: string[], output: string, attribute: Attribute[] = []): string {
    this.#nodes.push({ name: output, opType, input, output: [output], attribute });
    return output;
  }

  /** A 3×3 convolution with bias; He's initialisation keeps activations in range at any depth. */
  conv(input: string, from: number, to: number, output: string, stride = 1): string {
    const weight = this.weight(`${output}.w`, [to, from, 3, 3], Math.sqrt(6 / (9 * from)));
    const bias = this.weight(`${output}.b`, [to], 0.1);
    return this.node("Conv", [input, weight, bias], output, [
      ints("kernel_shape", [3, 3]),
      ints("pads", [1, 1, 1, 1]),
      ints("strides", [stride, stride]),
    ]);
  }

  batchNorm(input: string, channels: number, output: string): string {
    const names = [
      this.weight(`${output}.scale`, [channels], 0.3, 1),
      this.weight(`${output}.shift`, [channels], 0.2),
      this.weight(`${output}.mean`, [channels], 0.2),
      this.weight(`${output}.var`, [channels], 0.4, 1),
    ];
    return this.node("BatchNormalization", [input, ...names], output);
  }

  dense(input: string, from: number, to: number, output: string): string {
    const weight = this.weight(`${output}.w`, [to, from], Math.sqrt(6 / from));
    const bias = this.weight(`${output}.b`, [to], 0.1);
    return this.node("Gemm", [input, weight, bias], output, [int("transB", 1)]);
  }

  encode(name: string, input: ValueInfo[], output: ValueInfo[]): Uint8Array<ArrayBuffer> {
    const graph: Graph = {
      name,
      node: this.#nodes,
      initializer: this.#initializers,
      input,
      output,
    };
    return encodeModel({
      irVersion: 8,
      opsetImport: [{ domain: "", version: 13 }],
      producerName: "clockwork-testdata",
      graph,
    });
  }
}

/** An image classifier: convolutions, one with batch normalization, and two residual blocks. */
function residualConv(): Uint8Array<ArrayBuffer> {
  const net = new Network(1);
  let x = net.conv("image", 3, 16, "stem");
  x = net.batchNorm(x, 16, "stem.bn");
  x = net.node("Relu", [x], "stem.relu");
  let channels = 16;
  for (const [block, to] of [["a", 32], ["b", 48]] as const) {
    const down = net.node("Relu", [net.conv(x, channels, to, `${block}.down`, 2)], `${block}.relu`);
    let y = net.node("Relu", [net.conv(down, to, to, `${block}.1`)], `${block}.1.relu`);
    y = net.conv(y, to, to, `${block}.2`);
    x = net.node("Relu", [net.node("Add", [down, y], `${block}.add`)], `${block}.out`);
    channels = to;
  }
  x = net.node("GlobalAveragePool", [x], "pool");
  x = net.node("Flatten", [x], "features");
  net.dense(x, channels, 10, "scores");
  return net.encode("residual_conv", [value("image", ["batch", 3, 32, 32])], [
    value("scores", ["batch", 10]),
  ]);
}

/** Three dense layers. */
function mlp(): Uint8Array<ArrayBuffer> {
  const net = new Network(2);
  let x = net.node("Relu", [net.dense("x", 64, 128, "h1")], "h1.relu");
  x = net.node("Tanh", [net.dense(x, 128, 64, "h2")], "h2.tanh");
  net.node("Softmax", [net.dense(x, 64, 8, "logits")], "y", [int("axis", 1)]);
  return net.encode("mlp", [value("x", ["batch", 64])], [value("y", ["batch", 8])]);
}

/** Two inputs of different shapes meet, two outputs of different shapes leave. */
function twoInTwoOut(): Uint8Array<ArrayBuffer> {
  const net = new Network(3);
  const a = net.node("MatMul", ["a", net.weight("wa", [16, 32], 0.5)], "a.proj");
  const b = net.node("MatMul", ["b", net.weight("wb", [8, 32], 0.5)], "b.proj");
  const sum = net.node("Add", [a, b], "sum");
  net.node("Sigmoid", [net.node("Add", [sum, net.weight("bias", [32], 0.5)], "biased")], "gate");
  net.node("MatMul", [sum, net.weight("wc", [32, 4], 0.5)], "head");
  return net.encode("two_in_two_out", [value("a", ["batch", 16]), value("b", ["batch", 8])], [
    value("gate", ["batch", 32]),
    value("head", ["batch", 4]),
  ]);
}

/** A convolution whose batch dimension is fixed at 1. */
function fixedBatch(): Uint8Array<ArrayBuffer> {
  const net = new Network(4);
  const x = net.node("Relu", [net.conv("x", 3, 16, "conv")], "relu");
  net.conv(x, 16, 2, "y", 2);
  return net.encode("fixed_batch", [value("x", [1, 3, 8, 8])], [value("y", [1, 2, 4, 4])]);
}

/** Every file of `testdata/models`, by its path there. */
export function generateModels(): Map<string, Uint8Array<ArrayBuffer>> {
  return new Map([
    ["residual_conv/model.onnx", residualConv()],
    ["mlp/model.onnx", mlp()],
    ["two_in_two_out/model.onnx", twoInTwoOut()],
    ["fixed_batch/model.onnx", fixedBatch()],
  ]);
}

if (import.meta.main) {
  const directory = new URL("./models/", import.meta.url).pathname;
  for (const [path, bytes] of generateModels()) {
    const file = join(directory, path);
    Deno.mkdirSync(join(file, ".."), { recursive: true });
    Deno.writeFileSync(file, bytes);
    console.log(`${file}: ${bytes.length} bytes`);
  }
}
