/** Small graphs and the reference that the tests of this folder compare with. */
import { SystemClock } from "../../core/system_clock.ts";
import {
  type BackendModel,
  type Done,
  type InferOutcome,
  isFailure,
  type Span,
} from "../backend.ts";
import { joinInputs } from "./blobs.ts";
import { fillSeeded, fillWith, viewAs } from "./data_types.ts";
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

/** A tensor of int64, or of int32 or (u)int8 by ONNX's number of the type. */
export function intTensor(
  name: string,
  dims: number[],
  values: readonly number[],
  dataType = 7,
): Tensor {
  const array = dataType === 7
    ? BigInt64Array.from(values, BigInt)
    : dataType === 6
    ? Int32Array.from(values)
    : dataType === 3
    ? Int8Array.from(values)
    : Uint8Array.from(values);
  return { name, dims, dataType, rawData: new Uint8Array(array.buffer) };
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
  Tensor: new (type: string, data: unknown, dims: number[]) => { data: ArrayBufferView };
  InferenceSession: {
    create(path: string, options: Record<string, unknown>): Promise<{
      run(feeds: Record<string, unknown>): Promise<Record<string, { data: ArrayBufferView }>>;
      release(): Promise<void>;
    }>;
  };
}

/** What the native ONNX Runtime makes of one batch: the bytes of each output, of the whole batch. */
async function nativeOutputs(
  loaded: BackendModel,
  blobs: readonly Uint8Array[],
): Promise<ArrayBuffer[]> {
  const imported = await import("onnxruntime-node") as unknown as NodeOrt & { default?: NodeOrt };
  const ort = imported.default ?? imported;
  const session = await ort.InferenceSession.create(loaded.source, {
    logSeverityLevel: 3,
    intraOpNumThreads: 1,
  });
  const buffers = joinInputs(loaded.inputs, blobs, blobs.length);
  const feeds = Object.fromEntries(loaded.inputs.map(({ name, dtype, shape, batched }, i) => {
    const dims = batched ? [blobs.length, ...shape] : [...shape];
    return [name, new ort.Tensor(dtype, viewAs(dtype, buffers[i]!), dims)];
  }));
  const results = await session.run(feeds);
  await session.release();
  return loaded.outputs.map(({ name }) => {
    const { buffer, byteOffset, byteLength } = results[name]!.data;
    return buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;
  });
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

  loadWeights(loaded: BackendModel, copyId: number, gpuId = 0): Promise<Span> {
    return promised((done) => this.backend.loadWeights(gpuId, loaded, copyId, done));
  }

  evictWeights(loaded: BackendModel, copyId: number): Promise<Span> {
    return promised((done) => this.backend.evictWeights(0, loaded, copyId, done));
  }

  infer(
    loaded: BackendModel,
    copyId: number,
    batchSize: number,
    inputs: readonly Uint8Array[] | null,
    gpuId = 0,
  ): Promise<InferOutcome> {
    return promised((done) => this.backend.infer(gpuId, loaded, copyId, batchSize, inputs, done));
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

/** One request's input blob: seeded values of each input's type, floats in [-1, 1), or those given. */
export function randomBlob(
  loaded: BackendModel,
  seed: number,
  fill: Readonly<Record<string, number>> = {},
): Uint8Array {
  const blob = new Uint8Array(loaded.inputBytes);
  let offset = 0;
  loaded.inputs.forEach(({ name, dtype, bytes }, i) => {
    const share = new ArrayBuffer(bytes);
    const value = fill[name];
    if (value === undefined) fillSeeded(dtype, share, seed + 1000 * i);
    else fillWith(dtype, share, value);
    blob.set(new Uint8Array(share), offset);
    offset += bytes;
  });
  return blob;
}

/**
 * Largest difference between served blobs and the native ONNX Runtime's outputs of the same batch:
 * Infinity as soon as one element that is no float differs.
 */
export async function differenceFromNative(
  loaded: BackendModel,
  inputs: readonly Uint8Array[],
  outputs: readonly Uint8Array[],
): Promise<number> {
  const native = await nativeOutputs(loaded, inputs);
  let largest = 0;
  let offset = 0;
  loaded.outputs.forEach(({ bytes, dtype }, i) => {
    outputs.forEach((blob, request) => {
      const served = viewAs(dtype, blob.slice(offset, offset + bytes).buffer);
      const expected = viewAs(dtype, native[i]!.slice(request * bytes, (request + 1) * bytes));
      const isFloat = dtype === "float32" || dtype === "float16";
      for (let j = 0; j < expected.length; j++) {
        if (served[j] === expected[j]) continue;
        const difference = isFloat ? Math.abs(Number(served[j]) - Number(expected[j])) : Infinity;
        // Also catches NaN, of which Math.max would make NaN and then compare false.
        largest = difference <= largest ? largest : difference;
      }
    });
    offset += bytes;
  });
  return largest;
}
