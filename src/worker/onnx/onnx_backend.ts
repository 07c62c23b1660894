/** The backend that computes: ONNX Runtime on WebGPU, or on the CPU where there is none. */
import type { Clock } from "../../core/clock.ts";
import { ActionStatus } from "../../core/status.ts";
import {
  type Backend,
  type BackendModel,
  type Done,
  type Failure,
  type GpuInfo,
  type InferOutcome,
  isFailure,
  type LoadModelOptions,
  type Span,
} from "../backend.ts";
import { MAX_ONNX_BYTES } from "../model_files.ts";
import { joinInputs, splitOutputs } from "./blobs.ts";
import { GpuThread } from "./gpu_thread.ts";
import { ModelLoader } from "./model_loader.ts";
import type { InputShapes } from "./plan.ts";
import type { DeviceInfo, DeviceKind } from "./protocol.ts";

/** What the user may ask for. */
export const DEVICE_CHOICES = ["auto", "dawn", "deno", "wasm"] as const;
export type DeviceChoice = typeof DEVICE_CHOICES[number];

const GIB = 2 ** 30;

export interface OnnxBackendOptions {
  /**
   * `auto` takes the first that works of Dawn, Deno's WebGPU and the CPU, and passes over GPUs that are
   * emulated on the CPU: its own kernels are many times faster.
   */
  readonly device: DeviceChoice;
  /** Where relative model paths are looked up. */
  readonly modelDir: string;
  /**
   * Device memory for weights. WebGPU does not tell how much there is; the default is the largest
   * buffer that the device allows, at least 1 GiB and at most 4 GiB, and 1 GiB on the CPU.
   */
  readonly weightsCacheBytes?: number;
  /** Larger ONNX files are refused. Default: 2 GiB, the format's own limit. */
  readonly maxModelBytes?: number;
  /** Sizes of dynamic dimensions, instead of those in model.json. */
  readonly shapes?: InputShapes;
  /** Called once when the GPU is gone; its actions fail from then on. */
  readonly onLost?: (message: string) => void;
}

function defaultCacheBytes(info: DeviceInfo): number {
  if (info.kind === "wasm" || info.software) return GIB;
  return Math.min(Math.max(info.maxBufferBytes, GIB), 4 * GIB);
}

/** No device could be opened; the message has the reason of each. */
export class NoDeviceError extends Error {
  override readonly name = "NoDeviceError";
}

export class OnnxBackend implements Backend {
  readonly gpus: readonly GpuInfo[];
  readonly device: DeviceInfo;
  /** Why better devices were not taken, a sentence each: for people. */
  readonly passedOver: readonly string[];
  readonly #clock: Clock;
  readonly #thread: GpuThread;
  readonly #loader: ModelLoader;

  private constructor(
    clock: Clock,
    thread: GpuThread,
    device: DeviceInfo,
    passedOver: readonly string[],
    options: OnnxBackendOptions,
  ) {
    this.#clock = clock;
    this.#thread = thread;
    this.device = device;
    this.passedOver = passedOver;
    this.gpus = [{
      name: device.name,
      profileKey: device.profileKey,
      weightsCacheBytes: options.weightsCacheBytes ?? defaultCacheBytes(device),
    }];
    this.#loader = new ModelLoader(thread, {
      modelDir: options.modelDir,
      profileKey: device.profileKey,
      maxModelBytes: options.maxModelBytes ?? MAX_ONNX_BYTES,
      shapes: options.shapes ?? null,
    });
  }

  /**
   * Opens the best device, or the one asked for.
   *
   * @throws {NoDeviceError} when it cannot be had.
   */
  static async open(clock: Clock, options: OnnxBackendOptions): Promise<OnnxBackend> {
    const kinds: readonly DeviceKind[] = options.device === "auto"
      ? ["dawn", "deno", "wasm"]
      : [options.device];
    const passedOver: string[] = [];
    for (const kind of kinds) {
      const onLost = options.onLost ?? (() => {});
      try {
        const { thread, info } = await GpuThread.open(clock, kind, onLost);
        if (options.device === "auto" && info.software) {
          thread.close("not chosen");
          passedOver.push(
            `${kind}: ${info.name} is emulated on the CPU, where wasm is faster; --device ${kind} ` +
              "takes it all the same",
          );
          continue;
        }
        return new OnnxBackend(clock, thread, info, passedOver, options);
      } catch (error) {
        passedOver.push(`${kind}: ${(error as Error).message}`);
      }
    }
    throw new NoDeviceError(`no usable device: ${passedOver.join("; ")}`);
  }

  loadModel(path: string, options: LoadModelOptions, done: Done<BackendModel>): void {
    this.#loader.load(path, options).then(done);
  }

  unloadModel(model: BackendModel): void {
    this.#loader.unload(model);
  }

  /** Whether each copy of a loaded model has its own weights on the device; else all share a session. */
  isHoisted(model: BackendModel): boolean {
    return this.#loader.isHoisted(model);
  }

  loadWeights(_gpuId: number, model: BackendModel, copyId: number, done: Done<Span>): void {
    this.#span("loadWeights", model, copyId, done);
  }

  evictWeights(_gpuId: number, model: BackendModel, copyId: number, done: Done<Span>): void {
    this.#span("evictWeights", model, copyId, done);
  }

  #span(
    op: "loadWeights" | "evictWeights",
    model: BackendModel,
    copyId: number,
    done: Done<Span>,
  ): void {
    const callNs = this.#clock.now();
    const modelId = this.#loader.idOf(model);
    this.#thread.call(op, { modelId, copyId }, [], (reply) => {
      done(isFailure(reply) ? reply : this.#thread.span(reply, callNs));
    });
  }

  infer(
    _gpuId: number,
    model: BackendModel,
    copyId: number,
    batchSize: number,
    inputs: readonly Uint8Array[] | null,
    done: Done<InferOutcome>,
  ): void {
    const callNs = this.#clock.now();
    const failure = inputs === null ? null : checkInputs(model, batchSize, inputs);
    if (failure !== null) {
      done(failure);
      return;
    }
    const buffers = inputs === null ? null : joinInputs(model.inputs, inputs, batchSize);
    const request = { modelId: this.#loader.idOf(model), copyId, batchSize, inputs: buffers };
    this.#thread.call("infer", request, buffers ?? [], (reply) => {
      if (isFailure(reply)) {
        done(reply);
        return;
      }
      const exec = this.#thread.span(reply, callNs);
      const outputs = splitOutputs(model.outputs, reply.outputs, inputs?.length ?? batchSize);
      done({
        copyInput: { beginNs: callNs, endNs: exec.beginNs },
        exec,
        copyOutput: { beginNs: exec.endNs, endNs: this.#clock.now() },
        outputs,
      });
    });
  }

  close(): void {
    this.#thread.close("the worker is shutting down");
  }
}

function checkInputs(
  model: BackendModel,
  batchSize: number,
  inputs: readonly Uint8Array[],
): Failure | null {
  const wrong = inputs.find((input) => input.length !== model.inputBytes);
  if (wrong !== undefined) {
    return {
      status: ActionStatus.copyInputBadSizes,
      message: `an input has ${wrong.length} bytes; the model takes ${model.inputBytes}`,
    };
  }
  if (inputs.length === 0 || inputs.length > batchSize) {
    return {
      status: ActionStatus.copyInputBadSizes,
      message: `${inputs.length} inputs for batch size ${batchSize}`,
    };
  }
  return null;
}
