/**
 * A backend without GPUs: everything takes as long as the model's profile says, and outputs are zeros. It
 * needs only a clock, so it also runs in virtual time.
 */
import type { Clock } from "../../core/clock.ts";
import { ActionStatus } from "../../core/status.ts";
import type {
  Backend,
  BackendModel,
  Done,
  Failure,
  GpuInfo,
  InferOutcome,
  LoadModelOptions,
  Span,
} from "../backend.ts";
import { isFailure } from "../backend.ts";
import { EmulatedEngine } from "./engine.ts";
import { limitModel } from "./model.ts";

export interface EmulatedBackendOptions {
  readonly clock: Clock;
  readonly gpus: number;
  /** Device memory for weights, in bytes, of each GPU. */
  readonly weightsCacheBytes: number;
  /** Finds the model that a path names. */
  readonly readModel: (path: string, gpus: number) => BackendModel | Failure;
  /** How GPUs depart from their profile; by default they do not. */
  readonly behavior?: EmulatedBehavior;
}

/** What an emulated GPU does otherwise than its profile says. Asked when a piece of work begins. */
export interface EmulatedBehavior {
  /** How long the work will take, in nanoseconds. */
  durationNs(gpuId: number, engine: "exec" | "load", profileNs: number): number;
  /** Why the GPU cannot work at all; null when it can. */
  failure(gpuId: number): Failure | null;
}

const AS_PROFILED: EmulatedBehavior = {
  durationNs: (_gpuId, _engine, profileNs) => profileNs,
  failure: () => null,
};

const STOPPED: Failure = {
  status: ActionStatus.shuttingDown,
  message: "the worker is shutting down",
};

export class EmulatedBackend implements Backend {
  readonly gpus: readonly GpuInfo[];
  readonly #clock: Clock;
  readonly #readModel: EmulatedBackendOptions["readModel"];
  readonly #behavior: EmulatedBehavior;
  readonly #execution: readonly EmulatedEngine[];
  readonly #transfers: readonly EmulatedEngine[];
  /** Backs every output. It only grows, to the size of the largest. */
  #zeros = new Uint8Array(0);
  /** Outputs of one model, one a request, at the index that is the batch size. */
  readonly #outputs = new WeakMap<BackendModel, (readonly Uint8Array[] | undefined)[]>();

  constructor({ clock, gpus, weightsCacheBytes, readModel, behavior }: EmulatedBackendOptions) {
    this.#clock = clock;
    this.#readModel = readModel;
    this.#behavior = behavior ?? AS_PROFILED;
    this.gpus = Array.from({ length: gpus }, (_, id) => ({
      name: `emulated GPU ${id}`,
      profileKey: "emulated",
      weightsCacheBytes,
    }));
    this.#execution = this.gpus.map(() => new EmulatedEngine(clock));
    this.#transfers = this.gpus.map(() => new EmulatedEngine(clock));
  }

  loadModel(path: string, options: LoadModelOptions, done: Done<BackendModel>): void {
    const model = this.#readModel(path, this.gpus.length);
    done(isFailure(model) ? model : limitModel(model, options));
  }

  unloadModel(model: BackendModel): void {
    this.#outputs.delete(model);
  }

  loadWeights(gpuId: number, model: BackendModel, _copyId: number, done: Done<Span>): void {
    const failure = this.#behavior.failure(gpuId);
    if (failure !== null) return this.#failLater(failure, done);
    const profileNs = model.profiles[gpuId]!.loadWeightsNs;
    this.#transfers[gpuId]!.run(
      this.#behavior.durationNs(gpuId, "load", profileNs),
      (span) => done(span ?? STOPPED),
    );
  }

  evictWeights(_gpuId: number, _model: BackendModel, _copyId: number, done: Done<Span>): void {
    const nowNs = this.#clock.now();
    done({ beginNs: nowNs, endNs: nowNs });
  }

  infer(
    gpuId: number,
    model: BackendModel,
    _copyId: number,
    batchSize: number,
    inputs: readonly Uint8Array[] | null,
    done: Done<InferOutcome>,
  ): void {
    const execNs = model.profiles[gpuId]!.execNs[model.batchSizes.indexOf(batchSize)];
    if (execNs === undefined) {
      throw new RangeError(`${model.source} has no profile for batch size ${batchSize}`);
    }
    const failure = this.#behavior.failure(gpuId);
    if (failure !== null) return this.#failLater(failure, done);
    const requests = inputs?.length ?? batchSize;
    const durationNs = this.#behavior.durationNs(gpuId, "exec", execNs);
    this.#execution[gpuId]!.run(durationNs, (span) => {
      if (span === null) {
        done(STOPPED);
        return;
      }
      const { beginNs, endNs } = span;
      done({
        // Profiles are of whole inferences: copying takes no time of its own.
        copyInput: { beginNs, endNs: beginNs },
        exec: span,
        copyOutput: { beginNs: endNs, endNs },
        outputs: this.#outputsOf(model, requests),
      });
    });
  }

  close(): void {
    for (const engine of this.#execution) engine.stop();
    for (const engine of this.#transfers) engine.stop();
  }

  /** A device that fails says so soon, not within the call. */
  #failLater<T>(failure: Failure, done: Done<T>): void {
    this.#clock.at(this.#clock.now(), () => done(failure));
  }

  #outputsOf(model: BackendModel, requests: number): readonly Uint8Array[] {
    let byRequests = this.#outputs.get(model);
    if (byRequests === undefined) this.#outputs.set(model, byRequests = []);
    return byRequests[requests] ??= this.#makeOutputs(model.outputBytes, requests);
  }

  #makeOutputs(bytes: number, requests: number): readonly Uint8Array[] {
    if (bytes > this.#zeros.length) this.#zeros = new Uint8Array(bytes);
    return new Array<Uint8Array>(requests).fill(this.#zeros.subarray(0, bytes));
  }
}
