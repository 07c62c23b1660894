/**
 * A load for the scheduler alone, to measure its cost per request: admission, planning and results,
 * including loads, evictions, timers and ideal GPUs.
 *
 * Time is virtual and GPUs are as fast as their profile says, kept 60 % busy.
 */
import { MS, SECOND, US } from "../core/clock.ts";
import { Random } from "../core/random.ts";
import { ActionStatus } from "../core/status.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { Infer4 } from "../scheduler/infer4/infer4.ts";
import type {
  GpuSpec,
  ModelSpec,
  Request,
  Scheduler,
  SchedulerAction,
  SchedulerHost,
} from "../scheduler/scheduler.ts";

const MODEL: ModelSpec = {
  weightsPages: 7,
  batchSizes: [1, 2, 4, 8],
  execNs: [3.3 * MS, 5.3 * MS, 7.5 * MS, 12.4 * MS],
  loadWeightsNs: 8.4 * MS,
  inputBytes: 602_112,
  outputBytes: 4000,
};
const GPUS_PER_WORKER = 8;
const SLO_NS = 100 * MS;
const NETWORK_NS = 100 * US;
const UTILIZATION = 0.6;

/** GPUs that do what they are told when they are told, at the cost of a timer an action. */
class IdealGpus implements SchedulerHost<Request> {
  scheduler!: Scheduler<Request>;
  answered = 0;
  good = 0;
  readonly #clock: VirtualClock;
  readonly #free = new Map<GpuSpec, { exec: number; load: number }>();

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  addGpu(spec: GpuSpec): void {
    this.#free.set(spec, { exec: 0, load: 0 });
    this.scheduler.addGpu(spec);
  }

  transferNs(): number {
    return NETWORK_NS;
  }

  send(action: SchedulerAction<Request>): void {
    const free = this.#free.get(action.gpu)!;
    const arrivesNs = this.#clock.now() + NETWORK_NS;
    let beginNs = arrivesNs;
    let endNs = arrivesNs;
    if (action.type === "Infer") {
      beginNs = Math.max(free.exec, arrivesNs);
      endNs = free.exec = beginNs +
        MODEL.execNs[MODEL.batchSizes.findIndex((size) => size >= action.batchSize)]!;
    } else if (action.type === "LoadWeights") {
      beginNs = Math.max(free.load, arrivesNs);
      endNs = free.load = beginNs + MODEL.loadWeightsNs;
    }
    this.#clock.at(endNs + NETWORK_NS, () =>
      this.scheduler.onOutcome(action, {
        status: ActionStatus.success,
        message: "",
        beginNs,
        endNs,
      }));
  }

  refuse(): void {
    this.answered++;
  }

  succeed(action: { readonly requests: readonly Request[] }): void {
    this.answered += action.requests.length;
    this.good += action.requests.length;
  }
}

/** INFER4 with a cluster of ideal GPUs, and requests of Poisson arrivals. */
export class SchedulerLoad {
  readonly gpus: IdealGpus;
  submitted = 0;
  readonly #clock = new VirtualClock();
  readonly #random = new Random(1);
  readonly #models: number;
  readonly #meanGapNs: number;
  readonly #hotShare: number;
  readonly #hot: number;

  /** `hotShare` of the requests go to as many models as fit on the GPUs, the others to any. */
  constructor(gpus: number, models: number, hotShare: number) {
    this.gpus = new IdealGpus(this.#clock);
    this.gpus.scheduler = new Infer4(this.#clock, this.gpus, { maxGpus: gpus });
    this.#models = models;
    this.#hotShare = hotShare;
    const pages = 1376;
    this.#hot = Math.min(models, Math.floor(gpus * pages / MODEL.weightsPages / 2));
    const specs = new Map<number, ModelSpec>();
    for (let gpu = 0; gpu < gpus; gpu++) {
      const workerId = Math.floor(gpu / GPUS_PER_WORKER);
      specs.set(workerId, MODEL);
      this.gpus.addGpu({ workerId, gpuId: gpu % GPUS_PER_WORKER, pages });
    }
    for (let model = 0; model < models; model++) this.gpus.scheduler.setModel(model, specs);
    this.#meanGapNs = MODEL.execNs[0]! / (UTILIZATION * gpus);
    // Until the models that fit are loaded: loads are what takes longest.
    const warmUpNs = 2 * SECOND;
    while (this.#clock.now() < warmUpNs) this.step();
  }

  /** A scheduler that does not answer, or refuses, would look fast. */
  check(): void {
    const { answered, good } = this.gpus;
    if (answered < 0.9 * (this.submitted - 40_000) || good < 0.9 * answered) {
      throw new Error(`of ${this.submitted} requests ${answered} were answered, ${good} in time`);
    }
  }

  /** Lets the time until the next request pass, and submits it. */
  step(): void {
    const random = this.#random;
    this.#clock.advance(random.exponential(this.#meanGapNs));
    const nowNs = this.#clock.now();
    const range = random.float() < this.#hotShare ? this.#hot : this.#models;
    this.submitted++;
    this.gpus.scheduler.submit({
      modelId: random.below(range),
      arrivalNs: nowNs,
      deadlineNs: nowNs + SLO_NS,
      inputBytes: MODEL.inputBytes,
    });
  }
}
