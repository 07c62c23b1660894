/**
 * Carries out a workload's plan with a client: loads the models, waits until the controller serves them,
 * runs the generators, and counts the results of their requests.
 */
import { type Clock, SECOND, type Timer } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import { payloads } from "../wire/payload_pool.ts";
import type { Client } from "./client.ts";
import type { InferOptions, Model } from "./model.ts";
import type { Inputs } from "./inputs.ts";
import { describeStatus, type Done, type Failure } from "./result.ts";
import { type DropReason, Statistics } from "./statistics.ts";
import type { Plan, Run } from "./workloads/workload.ts";

/** How long a run that ends waits for the answers that are still to come. */
const DRAIN_NS = 5 * SECOND;
/** Requests of open loops are dropped while so much waits for the network: most would be too late. */
const MAX_QUEUED_BYTES = 256 * 2 ** 20;
/** A request this late is dropped: the machine was stalled, and a flood of old requests helps nobody. */
const TOO_LATE_NS = SECOND;

const ignored = (): void => {};

export interface WorkloadRunParts {
  readonly client: Client;
  readonly clock: Clock;
  readonly random: Random;
  readonly inputs: Inputs;
  /** The path by which the controller is asked for a model that the plan names. */
  readonly pathOf: (model: string) => string;
  /** Time allowed for requests whose workload says nothing of it; left out, the controller decides. */
  readonly sloNs?: number;
}

export interface WorkloadRunHandler {
  /** The models are loaded and the first requests are about to be sent. */
  onStart(): void;
  /** Called once, at the end. `error` says why nothing could be run; null when it ran. */
  onEnd(error: string | null): void;
}

export class WorkloadRun implements Run {
  readonly clock: Clock;
  readonly random: Random;
  readonly #parts: WorkloadRunParts;
  readonly #plan: Plan;
  readonly #handler: WorkloadRunHandler;
  #state: "loading" | "running" | "draining" | "ended" = "loading";
  #asked = 0;
  #outstanding = 0;
  #drainLimit: Timer | null = null;
  #statistics: Statistics;

  constructor(parts: WorkloadRunParts, plan: Plan, handler: WorkloadRunHandler) {
    this.#parts = parts;
    this.#plan = plan;
    this.#handler = handler;
    this.clock = parts.clock;
    this.random = parts.random;
    this.#statistics = new Statistics(this.clock.now());
  }

  get stopped(): boolean {
    return this.#state === "draining" || this.#state === "ended";
  }

  /** Inferences that it has asked for: each is counted in `statistics` once it has settled. */
  get asked(): number {
    return this.#asked;
  }

  /** Measured since `onStart`. */
  get statistics(): Statistics {
    return this.#statistics;
  }

  /** Loads the plan's models and, when the controller serves, starts its generators. */
  start(): void {
    const { uses } = this.#plan;
    const models: (readonly Model[])[] = uses.map(() => []);
    let loading = uses.length;
    if (loading === 0) return this.#awaitService(models);
    for (const [i, use] of uses.entries()) {
      const path = this.#parts.pathOf(use.model);
      this.#parts.client.loadModel(path, use.copies, (result) => {
        if (this.stopped) return;
        if (!result.ok) return this.#end(`cannot load ${path}: ${reasonOf(result)}`);
        if (result.value.length !== use.copies) {
          const made = result.value.length;
          return this.#end(`the controller made ${made} of ${use.copies} copies of ${path}`);
        }
        models[i] = result.value;
        if (--loading === 0) this.#awaitService(models);
      });
    }
  }

  /** Sends no more requests, and ends when those sent have settled, or after five seconds. */
  stop(): void {
    if (this.stopped) return;
    this.#state = "draining";
    if (this.#outstanding === 0) return this.#end(null);
    this.#drainLimit = this.clock.at(this.clock.now() + DRAIN_NS, () => {
      // Settles what is still outstanding, which ends the run.
      this.#parts.client.close();
    });
  }

  infer(model: Model, asked: InferOptions, done: Done<Uint8Array>): void {
    const { sloNs } = this.#parts;
    const own = asked.deadlineNs || asked.sloFactor || sloNs === undefined;
    const options = own ? asked : { deadlineNs: sloNs };
    const { deadlineNs, sloFactor } = options;
    const allowedNs = deadlineNs && !sloFactor ? deadlineNs : Infinity;
    this.#asked++;
    this.#outstanding++;
    this.#parts.client.infer(model, this.#parts.inputs(model), options, (result) => {
      this.#outstanding--;
      this.#statistics.record(result, allowedNs);
      done(result);
      // Nobody reads the outputs of a workload.
      if (result.ok) payloads.release(result.value);
      if (this.#outstanding === 0 && this.#state === "draining") this.#end(null);
    });
  }

  offer(model: Model, options: InferOptions, lateNs: number): void {
    const reason = this.#reasonToDrop(lateNs);
    if (reason !== null) return this.#statistics.drop(reason);
    this.#statistics.sentLate(lateNs);
    this.infer(model, options, ignored);
  }

  #reasonToDrop(lateNs: number): DropReason | null {
    const { client } = this.#parts;
    if (lateNs > TOO_LATE_NS) return "late";
    if (client.outstanding >= client.maxOutstanding) return "outstanding";
    return client.queuedBytes > MAX_QUEUED_BYTES ? "network" : null;
  }

  #awaitService(models: readonly (readonly Model[])[]): void {
    this.#parts.client.ls((result) => {
      if (this.stopped) return;
      if (!result.ok) return this.#end(`the controller does not serve: ${reasonOf(result)}`);
      this.#state = "running";
      this.#statistics = new Statistics(this.clock.now());
      this.#handler.onStart();
      this.#plan.start(this, models, () => this.stop());
    });
  }

  #end(error: string | null): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#drainLimit?.cancel();
    this.#handler.onEnd(error);
  }
}

function reasonOf({ message, status }: Failure): string {
  return message || describeStatus(status);
}
