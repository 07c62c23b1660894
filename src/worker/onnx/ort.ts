/**
 * The part of ONNX Runtime Web that is used. The only file that imports it; its typings do not cover the
 * build used here.
 */
import type { DataType } from "../backend.ts";
import type { TensorData } from "./data_types.ts";

export interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  /** Only of tensors in host memory. */
  readonly data: TensorData;
}

export interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}

interface SessionOptions {
  readonly executionProviders: readonly string[];
  readonly graphOptimizationLevel: "all";
  /** 4: nothing but what ends the process. What goes wrong is thrown too, and told by those who catch it. */
  readonly logSeverityLevel: 3 | 4;
  readonly externalData?: readonly ExternalFile[];
}

/** A file that an ONNX file takes weights from. `path` is written as in the ONNX file. */
export interface ExternalFile {
  readonly path: string;
  readonly data: Uint8Array;
}

export interface Ort {
  readonly env: {
    logLevel: "fatal";
    readonly versions: { readonly web?: string };
    readonly wasm: { numThreads: number };
    /** The device that the first WebGPU session made. */
    readonly webgpu: { readonly device: GPUDevice | Promise<GPUDevice> };
  };
  readonly Tensor: {
    new (type: DataType, data: TensorData, dims: readonly number[]): OrtTensor;
  };
  readonly InferenceSession: {
    create(
      bytes: Uint8Array,
      options: SessionOptions,
    ): Promise<OrtSession>;
  };
}

/**
 * Loads ONNX Runtime into this thread. Its CPU kernels use this thread alone: more threads it would start
 * from a blob, which Deno does not import.
 *
 * In a Deno worker `location` exists but has no origin, which makes the library's start-up throw; it is
 * hidden while that runs.
 */
export async function loadOrt(): Promise<Ort> {
  const location = Object.getOwnPropertyDescriptor(globalThis, "location");
  Object.defineProperty(globalThis, "location", { value: undefined, configurable: true });
  try {
    const ort = await import("onnxruntime-web/jspi") as unknown as Ort;
    ort.env.logLevel = "fatal";
    ort.env.wasm.numThreads = 1;
    return ort;
  } finally {
    if (location !== undefined) Object.defineProperty(globalThis, "location", location);
  }
}

let last: Promise<unknown> = Promise.resolve();

/**
 * Runs `fn` when all earlier ones have ended. ONNX Runtime keeps what it is doing in globals, so that a
 * thread may create, run or release one session at a time.
 */
export function exclusively<T>(fn: () => Promise<T>): Promise<T> {
  const result = last.then(fn);
  last = result.catch(() => {});
  return result;
}

/** Makes a session on one execution provider; `recorder` is told when the device is used for it. */
export function createSession(
  ort: Ort,
  executionProvider: string,
  bytes: Uint8Array,
  externalData: readonly ExternalFile[] = [],
  recorder: { begin(): void; end(): void } | null = null,
): Promise<OrtSession> {
  return exclusively(async () => {
    recorder?.begin();
    try {
      return await ort.InferenceSession.create(bytes, {
        executionProviders: [executionProvider],
        graphOptimizationLevel: "all",
        logSeverityLevel: 4,
        ...(externalData.length > 0 ? { externalData } : {}),
      });
    } finally {
      recorder?.end();
    }
  });
}

/** Frees what a session holds. */
export function releaseSession(session: OrtSession): Promise<void> {
  return exclusively(() => session.release());
}
