/**
 * ONNX Runtime alone, for the worker's benchmarks: a thread that runs sessions on a device which nothing
 * stands in front of.
 */
import { viewAs } from "../../src/worker/onnx/data_types.ts";
import { type Device, openDevice } from "../../src/worker/onnx/device.ts";
import type { OrtSession, OrtTensor } from "../../src/worker/onnx/ort.ts";
import { UPLOAD_CHUNK_BYTES } from "../../src/worker/onnx/paged_weights.ts";
import type { DataType } from "../../src/worker/backend.ts";
import type { DeviceKind } from "../../src/worker/onnx/protocol.ts";

/** One whole batch of an input. */
export interface BareInput {
  readonly name: string;
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly buffer: ArrayBuffer;
}

export type BareRequest =
  | { readonly op: "open"; readonly kind: DeviceKind }
  /** Makes a session of a file, and a batch for it, instead of those before. */
  | { readonly op: "prepare"; readonly file: Uint8Array; readonly inputs: readonly BareInput[] }
  /** Answers with the milliseconds that one run took. */
  | { readonly op: "run" }
  /** Answers with the milliseconds that one upload chunk of weights takes of an idle device. */
  | { readonly op: "upload" };

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<BareRequest>) => void;
  postMessage(message: number | string): void;
};

let device: Device;
let session: OrtSession | undefined;
let inputs: readonly BareInput[] = [];

async function open(kind: DeviceKind): Promise<void> {
  device = await openDevice({
    target: { kind, adapter: null },
    pageBytes: 2 ** 20,
    weightsCacheBytes: null,
  });
  if (device.gpu === null) return;
  uncover(device.gpu.device);
  uncover(device.gpu.device.queue);
}

/** Removes functions that the worker has put in front of the object's own. */
function uncover(object: object): void {
  const own = object as Record<string, unknown>;
  for (const name of Object.keys(own)) {
    if (typeof own[name] === "function" && name in Object.getPrototypeOf(object)) delete own[name];
  }
}

async function run(): Promise<number> {
  const beginMs = performance.now();
  const feeds: Record<string, OrtTensor> = {};
  for (const { name, dtype, dims, buffer } of inputs) {
    feeds[name] = new device.ort.Tensor(dtype, viewAs(dtype, buffer), dims);
  }
  await session!.run(feeds);
  return performance.now() - beginMs;
}

/** Many chunks at once less one: how long the device takes to tell that it is ready does not count. */
async function upload(): Promise<number> {
  const MANY = 33;
  const gpu = device.gpu!.device;
  const buffer = gpu.createBuffer({
    size: UPLOAD_CHUNK_BYTES,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  });
  const data = new Uint8Array(UPLOAD_CHUNK_BYTES);
  const timesMs: number[] = [];
  for (const count of [1, 1, MANY]) {
    const beginMs = performance.now();
    for (let i = 0; i < count; i++) gpu.queue.writeBuffer(buffer, 0, data);
    await gpu.queue.onSubmittedWorkDone();
    timesMs.push(performance.now() - beginMs);
  }
  buffer.destroy();
  return (timesMs[2]! - timesMs[1]!) / (MANY - 1);
}

async function handle(request: BareRequest): Promise<number> {
  switch (request.op) {
    case "open":
      await open(request.kind);
      return 0;
    case "prepare":
      await session?.release();
      inputs = request.inputs;
      session = await device.ort.InferenceSession.create(request.file, {
        executionProviders: [device.executionProvider],
        graphOptimizationLevel: "all",
        logSeverityLevel: 4,
      });
      return 0;
    case "run":
      return await run();
    case "upload":
      return await upload();
  }
}

scope.onmessage = ({ data }) =>
  void handle(data).then(
    (ms) => scope.postMessage(ms),
    (error: Error) => scope.postMessage(error.message),
  );
