import { MS, SECOND } from "../core/clock.ts";
import type { Clock } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import { ActionStatus } from "../core/status.ts";
import type { Failure } from "../worker/backend.ts";
import type { EmulatedBehavior } from "../worker/emulated/backend.ts";

/** How simulated GPUs deviate from their profiles. */
export interface GpuModel {
  /** Execution takes up to this fraction longer, evenly spread. */
  readonly noise: number;
  /** Once in so many executions a GPU stalls. */
  readonly stallEvery: number;
  readonly stallNs: number;
  /** Every ten seconds a GPU changes its clock, to full speed or to this fraction of it. */
  readonly slowClock: number;
}

export const STEADY_GPU: GpuModel = {
  noise: 0,
  stallEvery: Infinity,
  stallNs: 2 * MS,
  slowClock: 1,
};

const CLOCK_PERIOD_NS = 10 * SECOND;
const LOST: Failure = { status: ActionStatus.runtimeError, message: "the device is lost" };

/** The GPUs of one worker: as the model says, and worse while a fault lasts. */
export class SimulatedGpus implements EmulatedBehavior {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #model: GpuModel;
  readonly #stuckUntilNs: number[] = [];
  readonly #lostUntilNs: number[] = [];
  readonly #slowness: { untilNs: number; factor: number }[] = [];

  constructor(clock: Clock, random: Random, model: GpuModel) {
    this.#clock = clock;
    this.#random = random;
    this.#model = model;
  }

  stick(gpuId: number, durationNs: number): void {
    this.#stuckUntilNs[gpuId] = this.#clock.now() + durationNs;
  }

  lose(gpuId: number, durationNs: number): void {
    this.#lostUntilNs[gpuId] = this.#clock.now() + durationNs;
  }

  durationNs(gpuId: number, engine: "exec" | "load", profileNs: number): number {
    const { noise, stallEvery, stallNs } = this.#model;
    const nowNs = this.#clock.now();
    let ns = profileNs;
    if (engine === "exec") {
      if (noise > 0) ns *= 1 + noise * this.#random.float();
      ns /= this.#clockSpeed(gpuId, nowNs);
      if (stallEvery < Infinity && this.#random.float() * stallEvery < 1) ns += stallNs;
    }
    const stuckNs = Math.max(0, (this.#stuckUntilNs[gpuId] ?? -Infinity) - nowNs);
    return Math.round(ns + stuckNs);
  }

  failure(gpuId: number): Failure | null {
    return this.#clock.now() < (this.#lostUntilNs[gpuId] ?? -Infinity) ? LOST : null;
  }

  #clockSpeed(gpuId: number, nowNs: number): number {
    if (this.#model.slowClock === 1) return 1;
    let step = this.#slowness[gpuId];
    if (step === undefined || nowNs >= step.untilNs) {
      const factor = this.#random.below(2) === 0 ? 1 : this.#model.slowClock;
      this.#slowness[gpuId] = step = { untilNs: nowNs + CLOCK_PERIOD_NS, factor };
    }
    return step.factor;
  }
}
