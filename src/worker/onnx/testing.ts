/** Small graphs and the reference that the tests of this folder compare with. */
import { Random } from "../../core/random.ts";
import { SystemClock } from "../../core/system_clock.ts";
import {
  type BackendModel,
  type Done,
  type InferOutcome,
  isFailure,
  type Span,
} from "../backend.ts";
import { OnnxBackend, type OnnxBackendOptions } from "./onnx_backend.ts";
import { type Attribute, encodeModel, type Model, type Node, type Tensor } from "./proto.ts";

/** A float32 tensor; `fill` gives its elements. */
export function floatTensor(name: string, dims: number[], fill: (i: number) => number): Tensor {
  const size = dims.reduce((a, b) => a * b, 1);
  const data = Float32Array.from({ length: size }, (_, i) => fill(i));
  return { name, dims, dataType: 1, rawData: new Uint8Array(data.buffer) };
}

export function valueInfo(name: string, shape: readonly (number | string)[], elemType = 1) {
  const dim = shape.map((d) => typeof d === "string" ? { dimParam: d } : { dimValue: d });
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
}

export function node(
  opType: string,
  input: string[],
  output: string,
  attribute: Attribute[] = [],
): Node {
  return { opType, input, output: [output], attribute };
}

/** A model of one input "x" and one output "y". */
export function model(
  xShape: readonly (number | string)[],
  yShape: readonly (number | string)[],
  nodes: Node[],
  initializer: Tensor[],
): Model {
  return {
    irVersion: 8,
    opsetImport: [{ domain: "", version: 13 }],
    graph: {
      name: "test",
      node: nodes,
      initializer,
      input: [valueInfo("x", xShape)],
      output: [valueInfo("y", yShape)],
    },
  };
}

/** Writes `DIR/NAME/model.onnx` and, if given, its model.json. */
export function writeModel(
  directory: string,
  name: string,
  onnx: Model | Uint8Array,
  json?: unknown,
): void {
  Deno.mkdirSync(`${directory}/${name}`, { recursive: true });
  const bytes = onnx instanceof Uint8Array ? onnx : encodeModel(onnx);
  Deno.writeFileSync(`${directory}/${name}/model.onnx`, bytes);
  if (json !== undefined) {
    Deno.writeTextFileSync(`${directory}/${name}/model.json`, JSON.stringify(json));
  }
}

interface NodeOrt {
  Tensor: new (type: string, data: Float32Array, dims: number[]) => { data: Float32Array };
  InferenceSession: {
    create(path: string, options: Record<string, unknown>): Promise<{
      run(feeds: Record<string, unknown>): Promise<Record<string, { data: Float32Array }>>;
      release(): Promise<void>;
    }>;
  };
}

/**
 * What the native ONNX Runtime makes of one batch of float32 inputs: one array an output, of the whole
 * batch.
 */
export async function nativeOutputs(
  loaded: BackendModel,
  blobs: readonly Uint8Array[],
): Promise<Float32Array[]> {
  const imported = await import("onnxruntime-node") as unknown as NodeOrt & { default?: NodeOrt };
  const ort = imported.default ?? imported;
  const session = await ort.InferenceSession.create(loaded.source, {
    logSeverityLevel: 3,
    intraOpNumThreads: 1,
  });
  let offset = 0;
  const feeds = Object.fromEntries(loaded.inputs.map(({ name, shape, batched, bytes }) => {
    const data = new Uint8Array(bytes * blobs.length);
    blobs.forEach((blob, i) => data.set(blob.subarray(offset, offset + bytes), i * bytes));
    offset += bytes;
    const dims = batched ? [blobs.length, ...shape] : [...shape];
    return [name, new ort.Tensor("float32", new Float32Array(data.buffer), dims)];
  }));
  const results = await session.run(feeds);
  await session.release();
  return loaded.outputs.map(({ name }) => results[name]!.data);
}

/** A backend whose calls are promises. A failure is a rejection with "STATUS: message". */
export class TestBackend {
  readonly clock: SystemClock;
  readonly backend: OnnxBackend;

  private constructor(clock: SystemClock, backend: OnnxBackend) {
    this.clock = clock;
    this.backend = backend;
  }

  static async open(options: OnnxBackendOptions): Promise<TestBackend> {
    const clock = new SystemClock();
    try {
      return new TestBackend(clock, await OnnxBackend.open(clock, options));
    } catch (error) {
      clock.close();
      throw error;
    }
  }

  load(path: string, maxBatchSize = 16): Promise<BackendModel> {
    const options = { maxBatchSize, maxExecNs: 60e9 };
    return promised((done) => this.backend.loadModel(path, options, done));
  }

  loadWeights(loaded: BackendModel, copyId: number): Promise<Span> {
    return promised((done) => this.backend.loadWeights(0, loaded, copyId, done));
  }

  evictWeights(loaded: BackendModel, copyId: number): Promise<Span> {
    return promised((done) => this.backend.evictWeights(0, loaded, copyId, done));
  }

  infer(
    loaded: BackendModel,
    copyId: number,
    batchSize: number,
    inputs: readonly Uint8Array[] | null,
  ): Promise<InferOutcome> {
    return promised((done) => this.backend.infer(0, loaded, copyId, batchSize, inputs, done));
  }

  close(): void {
    this.backend.close();
    this.clock.close();
  }
}

function promised<T extends object>(start: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((result) => {
      if (isFailure(result)) reject(new Error(`${result.status}: ${result.message}`));
      else resolve(result);
    });
  });
}

/** One request's input blob of float32 values in [-1, 1). */
export function randomBlob(loaded: BackendModel, seed: number): Uint8Array {
  const random = new Random(seed);
  const values = Float32Array.from(
    { length: loaded.inputBytes / 4 },
    () => random.float() * 2 - 1,
  );
  return new Uint8Array(values.buffer);
}

/** Largest difference between served blobs and the native ONNX Runtime's outputs of the same batch. */
export async function differenceFromNative(
  loaded: BackendModel,
  inputs: readonly Uint8Array[],
  outputs: readonly Uint8Array[],
): Promise<number> {
  const native = await nativeOutputs(loaded, inputs);
  let largest = 0;
  let offset = 0;
  loaded.outputs.forEach(({ bytes }, i) => {
    outputs.forEach((blob, request) => {
      const served = new Float32Array(blob.slice(offset, offset + bytes).buffer);
      const expected = native[i]!.subarray(request * served.length, (request + 1) * served.length);
      served.forEach((value, j) => {
        // Also catches NaN, of which Math.max would make NaN and then compare false.
        const difference = Math.abs(value - expected[j]!);
        largest = difference <= largest ? largest : difference;
      });
    });
    offset += bytes;
  });
  return largest;
}
