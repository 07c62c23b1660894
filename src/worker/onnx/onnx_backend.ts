/** The backend that computes: ONNX Runtime on WebGPU, or on the CPU where there is none. */
import { type Clock, SECOND } from "../../core/clock.ts";
import { ActionStatus } from "../../core/status.ts";
import {
  type Backend,
  type BackendModel,
  type Done,
  type Failure,
  type GpuEvents,
  type GpuInfo,
  type InferOutcome,
  isFailure,
  type LoadModelOptions,
  type Span,
} from "../backend.ts";
import type { ModelDirs } from "../model_dirs.ts";
import { MAX_ONNX_BYTES } from "../model_files.ts";
import { joinInputs, splitOutputs } from "./blobs.ts";
import { type DeviceChoice, openSlots } from "./choose_devices.ts";
import type { GpuSlot } from "./gpu_slot.ts";
import type { ThreadTimeouts } from "./gpu_thread.ts";
import { ModelLoader, type ProfileUse } from "./model_loader.ts";
import type { InputFill, InputShapes } from "./plan.ts";
import type { LoadedOnGpu } from "./profiles.ts";
import type { DeviceInfo, DeviceTarget, WeightsMemory } from "./protocol.ts";
import { DEFAULT_TOLERANCES, type Tolerances, type VerifyChoice } from "./verify.ts";

export { DEVICE_CHOICES, type DeviceChoice, NoDeviceError } from "./choose_devices.ts";

const DEFAULT_PAGE_BYTES = 16 * 1024 * 1024;
const DEFAULT_TIMEOUTS: ThreadTimeouts = { loadNs: 300 * SECOND, callNs: 30 * SECOND };

export interface OnnxBackendOptions {
  /**
   * `auto` takes the first that works of Dawn, Deno's WebGPU and the CPU, and passes over GPUs that are
   * emulated on the CPU: its own kernels are many times faster.
   */
  readonly device: DeviceChoice;
  /** Dawn's adapters to take, by number or a part of the name; all of them by default. */
  readonly gpus?: readonly string[];
  /** Exactly these devices, instead of `device` and `gpus`. */
  readonly targets?: readonly DeviceTarget[];
  /** Where models are. */
  readonly modelDirs: ModelDirs;
  /** Size of a page of device memory for weights; 16 MiB by default. */
  readonly pageBytes?: number;
  /**
   * Device memory for weights. WebGPU does not tell how much there is; the default is the largest
   * buffer that the device allows, at least 1 GiB and at most 4 GiB, and 1 GiB on the CPU.
   */
  readonly weightsCacheBytes?: number;
  /** Larger models are refused. Default: 2 GiB, the format's own limit for one file. */
  readonly maxModelBytes?: number;
  /** Larger batches are not tried. Default: 16. */
  readonly maxBatchSize?: number;
  /** Host memory for the weights of all models. Default: no limit. */
  readonly hostWeightsBytes?: number;
  /** Sizes of dynamic dimensions, which go before those in model.json. */
  readonly shapes?: InputShapes;
  /** Whether a model that they do not fit is refused, rather than loaded without them. */
  readonly strictShapes?: boolean;
  /** Values of inputs that are made here and cannot be any number, such as a sampling rate. */
  readonly fill?: InputFill;
  /** Whether results are compared with the CPU's when a model is first loaded on a device. */
  readonly verify?: VerifyChoice;
  readonly tolerances?: Partial<Tolerances>;
  /** What becomes of the profiles in model.json; `keep` by default. */
  readonly profiles?: ProfileUse;
  /** Told what a load that takes long is at, a line at a time, for people. */
  readonly onProgress?: (line: string) => void;
  /** When a GPU's thread is taken for hung, and replaced. */
  readonly timeouts?: Partial<ThreadTimeouts>;
}

export class OnnxBackend implements Backend {
  readonly gpus: readonly GpuInfo[];
  /** One for each GPU. */
  readonly devices: readonly DeviceInfo[];
  /** Why better devices were not taken, a sentence each: for people. */
  readonly passedOver: readonly string[];
  readonly #clock: Clock;
  readonly #slots: readonly GpuSlot[];
  readonly #loader: ModelLoader;
  readonly #events: { current: GpuEvents | null };

  private constructor(
    clock: Clock,
    slots: readonly GpuSlot[],
    passedOver: readonly string[],
    events: { current: GpuEvents | null },
    timeouts: ThreadTimeouts,
    options: OnnxBackendOptions,
  ) {
    this.#clock = clock;
    this.#slots = slots;
    this.#events = events;
    this.passedOver = passedOver;
    this.devices = slots.map(({ info }) => info);
    this.gpus = this.devices.map(({ name, profileKey, weightsCacheBytes }) => ({
      name,
      profileKey,
      weightsCacheBytes,
    }));
    this.#loader = new ModelLoader(clock, slots, {
      modelDirs: options.modelDirs,
      maxModelBytes: options.maxModelBytes ?? MAX_ONNX_BYTES,
      maxBatchSize: options.maxBatchSize ?? 16,
      hostWeightsBytes: options.hostWeightsBytes ?? Infinity,
      shapes: options.shapes ?? {},
      fill: options.fill ?? {},
      strictShapes: options.strictShapes ?? false,
      verify: options.verify ?? "warn",
      tolerances: { ...DEFAULT_TOLERANCES, ...options.tolerances },
      timeouts,
      profiles: options.profiles ?? "keep",
      onProgress: options.onProgress ?? (() => {}),
    });
  }

  /**
   * Opens the best devices, or those asked for.
   *
   * @throws {NoDeviceError} when none can be had.
   */
  static async open(clock: Clock, options: OnnxBackendOptions): Promise<OnnxBackend> {
    const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
    const events: { current: GpuEvents | null } = { current: null };
    const slots: GpuSlot[] = [];
    const passedOver = await openSlots(clock, options, slots, (target, gpuId) => ({
      open: {
        target,
        pageBytes: options.pageBytes ?? DEFAULT_PAGE_BYTES,
        weightsCacheBytes: options.weightsCacheBytes ?? null,
      },
      timeouts,
      onLost: (reason) => events.current?.onLost(gpuId(), reason),
      onRestored: () => events.current?.onRestored(gpuId()),
    }));
    return new OnnxBackend(clock, slots, passedOver, events, timeouts, options);
  }

  watch(events: GpuEvents): void {
    this.#events.current = events;
  }

  loadModel(path: string, options: LoadModelOptions, done: Done<BackendModel>): void {
    this.#loader.load(path, options).then(done);
  }

  unloadModel(model: BackendModel): void {
    this.#loader.unload(model);
  }

  /** What came of a loaded model on each GPU, in their order. */
  onGpus(model: BackendModel): readonly LoadedOnGpu[] {
    return this.#loader.onGpus(model);
  }

  loadWeights(gpuId: number, model: BackendModel, copyId: number, done: Done<Span>): void {
    this.#span("loadWeights", gpuId, model, copyId, done);
  }

  evictWeights(gpuId: number, model: BackendModel, copyId: number, done: Done<Span>): void {
    this.#span("evictWeights", gpuId, model, copyId, done);
  }

  #span(
    op: "loadWeights" | "evictWeights",
    gpuId: number,
    model: BackendModel,
    copyId: number,
    done: Done<Span>,
  ): void {
    const callNs = this.#clock.now();
    const modelId = this.#loader.idOf(model);
    const slot = this.#slots[gpuId]!;
    slot.call(op, { modelId, copyId }, [], (reply) => {
      done(isFailure(reply) ? reply : slot.span(reply, callNs));
    });
  }

  infer(
    gpuId: number,
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
    const slot = this.#slots[gpuId]!;
    const buffers = inputs === null ? null : joinInputs(model.inputs, inputs, batchSize);
    const request = { modelId: this.#loader.idOf(model), copyId, batchSize, inputs: buffers };
    slot.call("infer", request, buffers ?? [], (reply) => {
      if (isFailure(reply)) {
        done(reply);
        return;
      }
      const exec = slot.span(reply, callNs);
      const outputs = splitOutputs(model.outputs, reply.buffers, inputs?.length ?? batchSize);
      done({
        copyInput: { beginNs: callNs, endNs: exec.beginNs },
        exec,
        copyOutput: { beginNs: exec.endNs, endNs: this.#clock.now() },
        outputs,
      });
    });
  }

  /** Device memory that a GPU's weights take. */
  memory(gpuId: number, done: Done<WeightsMemory>): void {
    this.#slots[gpuId]!.memory(done);
  }

  close(): void {
    for (const slot of this.#slots) slot.close("the worker is shutting down");
    this.#loader.close();
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
