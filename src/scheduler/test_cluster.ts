/**
 * A cluster for tests and benchmarks of schedulers: GPUs that behave as workers' do, on a virtual clock,
 * without messages. It checks as it goes what no scheduler may ever do.
 */
import assert from "node:assert/strict";
import { MS, US } from "../core/clock.ts";
import { ActionStatus, RequestStatus } from "../core/status.ts";
import type { VirtualClock } from "../core/virtual_clock.ts";
import type {
  ActionOutcome,
  GpuSpec,
  InferAction,
  ModelSpec,
  Request,
  Scheduler,
  SchedulerAction,
  SchedulerHost,
} from "./scheduler.ts";

/** The profile of the published emulated runs: resnet50_v2 on a V100. */
export const RESNET50: ModelSpec = {
  weightsPages: 7,
  batchSizes: [1, 2, 4, 8, 16],
  execNs: [3.3 * MS, 5.3 * MS, 7.5 * MS, 12.4 * MS, 17.3 * MS],
  loadWeightsNs: 8.4 * MS,
  inputBytes: 602_112,
  outputBytes: 4000,
};

export interface TestGpuOptions {
  readonly workerId?: number;
  readonly pages?: number;
  /** Times are those of the model's spec times this. */
  readonly slowness?: number;
  /** The time an execution really takes, given what was expected; by default just that. */
  readonly execNs?: (expectedNs: number) => number;
}

/** A request and what became of it. */
export class TestRequest implements Request {
  status: RequestStatus | null = null;
  answeredNs = 0;
  constructor(
    readonly id: number,
    readonly modelId: number,
    readonly arrivalNs: number,
    readonly deadlineNs: number,
    readonly inputBytes: number,
  ) {}

  get good(): boolean {
    return this.status === RequestStatus.success && this.answeredNs <= this.deadlineNs;
  }
}

interface TestGpu {
  readonly spec: GpuSpec;
  readonly options: TestGpuOptions;
  readonly loaded: Set<number>;
  freePages: number;
  execFreeNs: number;
  loadFreeNs: number;
  /** Until then nothing starts, and what runs does not end. */
  stuckUntilNs: number;
  lost: boolean;
}

type Action = SchedulerAction<TestRequest>;

export class TestCluster implements SchedulerHost<TestRequest> {
  readonly clock: VirtualClock;
  readonly requests: TestRequest[] = [];
  /** Everything the scheduler sent, in order. */
  readonly sent: Action[] = [];
  keepSent = true;
  /** Whether the scheduler plans: then nothing may be sent too early, nor predicted to overlap. */
  plans = true;
  oneWayNs = 100 * US;
  nsPerByte = 0;
  /** Called when a request has been answered. */
  onAnswer: (request: TestRequest) => void = () => {};
  scheduler!: Scheduler<TestRequest>;
  readonly #gpus = new Map<string, TestGpu>();
  readonly #specs = new Map<string, ModelSpec>();
  /** Predicted end of each GPU's last Infer, to see that predictions do not overlap. */
  readonly #predictedEndNs = new Map<string, number>();
  #droppedWeights = false;
  readonly #inputBytes = new Map<number, number>();

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  addGpu(gpuId: number, options: TestGpuOptions = {}): GpuSpec {
    const spec = { workerId: options.workerId ?? 0, gpuId, pages: options.pages ?? 1000 };
    this.#gpus.set(key(spec), {
      spec,
      options,
      loaded: new Set(),
      freePages: spec.pages,
      execFreeNs: 0,
      loadFreeNs: 0,
      stuckUntilNs: 0,
      lost: false,
    });
    this.scheduler.addGpu(spec);
    return spec;
  }

  loseGpu(spec: GpuSpec): void {
    const gpu = this.#gpus.get(key(spec))!;
    gpu.lost = true;
    this.#gpus.delete(key(spec));
    this.scheduler.removeGpu(spec);
  }

  stickGpu(spec: GpuSpec, durationNs: number): void {
    const gpu = this.#gpus.get(key(spec))!;
    gpu.stuckUntilNs = Math.max(gpu.stuckUntilNs, this.clock.now() + durationNs);
  }

  /** Takes the weights off a GPU behind the scheduler's back. */
  dropWeights(spec: GpuSpec, modelId: number): void {
    const gpu = this.#gpus.get(key(spec))!;
    this.#droppedWeights = true;
    if (gpu.loaded.delete(modelId)) gpu.freePages += this.#spec(spec, modelId).weightsPages;
  }

  /** Makes a model known, on worker 0 or on those named. */
  setModel(modelId: number, spec: ModelSpec, workerIds: readonly number[] = [0]): void {
    for (const workerId of workerIds) this.#specs.set(`${workerId}/${modelId}`, spec);
    this.#inputBytes.set(modelId, spec.inputBytes);
    this.scheduler.setModel(modelId, new Map(workerIds.map((workerId) => [workerId, spec])));
  }

  submit(modelId: number, sloNs: number): TestRequest {
    const nowNs = this.clock.now();
    const bytes = this.#inputBytes.get(modelId) ?? 0;
    const request = new TestRequest(this.requests.length, modelId, nowNs, nowNs + sloNs, bytes);
    this.requests.push(request);
    this.scheduler.submit(request);
    return request;
  }

  /** GPUs on which a model's weights are. */
  holders(modelId: number): number {
    let count = 0;
    for (const gpu of this.#gpus.values()) if (gpu.loaded.has(modelId)) count++;
    return count;
  }

  // What the scheduler calls.

  transferNs(_workerId: number, bytes: number): number {
    return this.oneWayNs + bytes * this.nsPerByte;
  }

  send(action: Action): void {
    if (this.keepSent) this.sent.push(action);
    const gpu = this.#gpus.get(key(action.gpu));
    assert.ok(gpu !== undefined, "an action for a GPU that is gone");
    assert.ok(action.latestNs >= action.earliestNs, "a window that ends before it begins");
    if (action.type === "Infer" && this.plans) this.#checkPrediction(action);
    const bytes = action.type === "Infer"
      ? action.requests.reduce((sum, { inputBytes }) => sum + inputBytes, 0)
      : 0;
    this.clock.at(this.clock.now() + this.transferNs(0, bytes), () => this.#arrive(gpu, action));
  }

  refuse(request: TestRequest, status: Exclude<RequestStatus, 0>, message: string): void {
    assert.notEqual(message, "");
    this.#answer(request, status);
  }

  succeed(action: InferAction<TestRequest>): void {
    for (const request of action.requests) this.#answer(request, RequestStatus.success);
  }

  // How the GPUs behave.

  #arrive(gpu: TestGpu, action: Action): void {
    if (gpu.lost) return;
    const nowNs = this.clock.now();
    const spec = this.#spec(action.gpu, action.modelId);
    const slowness = gpu.options.slowness ?? 1;
    if (action.type === "EvictWeights") {
      const held = gpu.loaded.delete(action.modelId);
      if (held) gpu.freePages += spec.weightsPages;
      this.#report(
        gpu,
        action,
        held ? ActionStatus.success : ActionStatus.evictNotInCache,
        nowNs,
        nowNs,
      );
      return;
    }
    const startNs = Math.max(
      nowNs,
      action.earliestNs,
      gpu.stuckUntilNs,
      action.type === "LoadWeights" ? gpu.loadFreeNs : gpu.execFreeNs,
    );
    if (startNs > action.latestNs) {
      const status = action.type === "LoadWeights"
        ? ActionStatus.loadWeightsTooLate
        : ActionStatus.execTooLate;
      this.clock.at(action.latestNs, () => this.#report(gpu, action, status, 0, 0));
      return;
    }
    if (action.type !== "Infer") {
      assert.ok(!gpu.loaded.has(action.modelId), "a load of weights that are there");
      assert.ok(gpu.freePages >= spec.weightsPages, "more pages than the GPU has");
      gpu.freePages -= spec.weightsPages;
      gpu.loadFreeNs = startNs + spec.loadWeightsNs * slowness;
      const endNs = gpu.loadFreeNs;
      this.clock.at(endNs, () => {
        gpu.loaded.add(action.modelId);
        this.#report(gpu, action, ActionStatus.success, startNs, endNs);
      });
      return;
    }
    if (!gpu.loaded.has(action.modelId)) {
      assert.ok(
        this.#droppedWeights || !this.plans,
        "an Infer whose weights are not loaded when it is to start",
      );
      this.#report(gpu, action, ActionStatus.execWeightsMissing, 0, 0);
      return;
    }
    const index = spec.batchSizes.findIndex((size) => size >= action.batchSize);
    assert.ok(index >= 0, "a batch that is larger than any supported");
    if (action.requests.length > 0) assert.equal(action.requests.length, action.batchSize);
    const profileNs = spec.execNs[index]! * slowness;
    gpu.execFreeNs = startNs + (gpu.options.execNs?.(profileNs) ?? profileNs);
    const endNs = gpu.execFreeNs;
    this.clock.at(endNs, () => this.#end(gpu, action, startNs, endNs));
  }

  #end(gpu: TestGpu, action: Action, startNs: number, endNs: number): void {
    const nowNs = this.clock.now();
    if (gpu.stuckUntilNs > nowNs) {
      // Not undone: what was queued behind it has been promised its start; it is late all the same.
      this.clock.at(gpu.stuckUntilNs, () => this.#end(gpu, action, startNs, gpu.stuckUntilNs));
      return;
    }
    this.#report(gpu, action, ActionStatus.success, startNs, endNs);
  }

  #report(
    gpu: TestGpu,
    action: Action,
    status: ActionStatus,
    beginNs: number,
    endNs: number,
  ): void {
    const outcome: ActionOutcome = {
      status,
      message: status === 0 ? "" : `status ${status}`,
      beginNs,
      endNs,
    };
    this.clock.at(this.clock.now() + this.oneWayNs, () => {
      if (gpu.lost) return;
      // Predictions made before an outcome are anchored anew by it.
      this.#predictedEndNs.delete(key(action.gpu));
      this.scheduler.onOutcome(action, outcome);
    });
  }

  /** Outstanding executions of a GPU must be predicted one after the other. */
  #checkPrediction(action: InferAction<TestRequest>): void {
    const startNs = action.expectedEndNs - action.expectedNs;
    const previousEndNs = this.#predictedEndNs.get(key(action.gpu)) ?? 0;
    assert.ok(startNs >= previousEndNs - 1, "predicted executions overlap");
    this.#predictedEndNs.set(key(action.gpu), action.expectedEndNs);
  }

  #answer(request: TestRequest, status: RequestStatus): void {
    assert.equal(request.status, null, `request ${request.id} was answered twice`);
    request.status = status;
    request.answeredNs = this.clock.now();
    this.onAnswer(request);
  }

  #spec({ workerId }: GpuSpec, modelId: number): ModelSpec {
    return this.#specs.get(`${workerId}/${modelId}`)!;
  }
}

function key({ workerId, gpuId }: GpuSpec): string {
  return `${workerId}/${gpuId}`;
}
