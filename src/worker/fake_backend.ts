/** A backend whose calls end when, how and as often as a test says. */
import type {
  Backend,
  BackendModel,
  Done,
  Failure,
  GpuEvents,
  GpuInfo,
  InferOutcome,
  LoadModelOptions,
  Span,
} from "./backend.ts";
import { makeModel } from "./test_rig.ts";

/** A call that the executors made. */
export interface Call<T> {
  readonly copyId: number;
  readonly done: Done<T>;
}

export class FakeBackend implements Backend {
  readonly gpus: readonly GpuInfo[];
  readonly loads: Call<Span>[] = [];
  readonly evictions: Call<Span>[] = [];
  readonly infers: (Call<InferOutcome> & {
    readonly batchSize: number;
    readonly inputs: readonly Uint8Array[] | null;
  })[] = [];
  readonly unloaded: BackendModel[] = [];
  closed = false;
  /** Who is told when GPUs come and go. */
  events: GpuEvents | null = null;
  /** Thrown by every call but `close`, while it is set. */
  error: Error | null = null;
  /** What `loadModel` answers; null: nothing, the call stays open. */
  model: ((path: string) => BackendModel | Failure) | null;

  /** @param weightsCacheBytes of each GPU. */
  constructor(gpus = 1, weightsCacheBytes = Number.MAX_SAFE_INTEGER) {
    this.gpus = Array.from({ length: gpus }, (_, id) => ({
      name: `fake ${id}`,
      profileKey: "fake",
      weightsCacheBytes,
    }));
    this.model = (path) => makeModel(path, gpus);
  }

  loadModel(path: string, _options: LoadModelOptions, done: Done<BackendModel>): void {
    this.#throw();
    if (this.model !== null) done(this.model(path));
  }

  watch(events: GpuEvents): void {
    this.events = events;
  }

  unloadModel(model: BackendModel): void {
    this.unloaded.push(model);
  }

  loadWeights(_gpuId: number, _model: BackendModel, copyId: number, done: Done<Span>): void {
    this.#throw();
    this.loads.push({ copyId, done });
  }

  evictWeights(_gpuId: number, _model: BackendModel, copyId: number, done: Done<Span>): void {
    this.#throw();
    this.evictions.push({ copyId, done });
  }

  infer(
    _gpuId: number,
    _model: BackendModel,
    copyId: number,
    batchSize: number,
    inputs: readonly Uint8Array[] | null,
    done: Done<InferOutcome>,
  ): void {
    this.#throw();
    this.infers.push({ copyId, batchSize, inputs, done });
  }

  close(): void {
    this.closed = true;
  }

  #throw(): void {
    if (this.error !== null) throw this.error;
  }
}
