/**
 * ONNX Runtime alone, for worker_bench.ts: a thread that runs a model's session in a loop, on a device that
 * nothing stands in front of.
 */
import { viewAs } from "../src/worker/onnx/data_types.ts";
import { openDevice } from "../src/worker/onnx/device.ts";
import type { DataType } from "../src/worker/backend.ts";
import type { DeviceKind } from "../src/worker/onnx/protocol.ts";

export interface BareRequest {
  readonly kind: DeviceKind;
  readonly file: Uint8Array;
  /** For each batch size: one buffer an input. */
  readonly inputs: readonly {
    readonly name: string;
    readonly dtype: DataType;
    readonly dims: readonly number[];
    readonly buffer: ArrayBuffer;
  }[];
  readonly runs: number;
}

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<BareRequest>) => void;
  postMessage(message: number[] | string): void;
};

let device: Awaited<ReturnType<typeof openDevice>> | undefined;
const sessions = new Map<number, Awaited<ReturnType<typeof newSession>>>();

async function newSession(kind: DeviceKind, file: Uint8Array) {
  if (device === undefined) {
    device = await openDevice({
      target: { kind, adapter: null },
      pageBytes: 2 ** 20,
      weightsCacheBytes: null,
    });
    const gpu = device.gpu?.device as unknown as Record<string, unknown> | undefined;
    // What the worker puts in front of the device shadows the device's own functions.
    for (const name of gpu === undefined ? [] : Object.keys(gpu)) delete gpu![name];
  }
  return await device.ort.InferenceSession.create(file, {
    executionProviders: [device.executionProvider],
    graphOptimizationLevel: "all",
    logSeverityLevel: 4,
  });
}

async function run({ kind, file, inputs, runs }: BareRequest): Promise<number[]> {
  let session = sessions.get(file.length);
  if (session === undefined) {
    session = await newSession(kind, file);
    sessions.set(file.length, session);
  }
  const { Tensor } = device!.ort;
  const timesMs: number[] = [];
  for (let i = 0; i < runs; i++) {
    const beginMs = performance.now();
    const feeds = Object.fromEntries(
      inputs.map(({ name, dtype, dims, buffer }) => [
        name,
        new Tensor(dtype, viewAs(dtype, buffer), dims),
      ]),
    );
    await session.run(feeds);
    timesMs.push(performance.now() - beginMs);
  }
  return timesMs;
}

scope.onmessage = ({ data }) =>
  void run(data).then(
    (times) => scope.postMessage(times),
    (error: Error) => scope.postMessage(error.message),
  );
