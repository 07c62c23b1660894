import { type Clock, MS } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import type { MemoryLinkOptions } from "../wire/memory_link.ts";

/** The network between the controller and one other node. */
export interface NetworkModel {
  /** One-way latency in nanoseconds. */
  readonly latencyNs: number;
  /** Each message takes up to this much longer, evenly spread. */
  readonly jitterNs: number;
  readonly bytesPerSecond: number;
}

/** How many times slower a slow link is. */
const SLOWDOWN = 20;
/** How much longer each message of an uneven network may take. */
const UNEVENNESS_NS = 10 * MS;

/** The network of one node, which faults make worse for a while. Both directions are alike. */
export class SimulatedNetwork implements MemoryLinkOptions {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #model: NetworkModel;
  #slowUntilNs = 0;
  #blockedUntilNs = 0;
  #unevenUntilNs = 0;

  constructor(clock: Clock, random: Random, model: NetworkModel) {
    this.#clock = clock;
    this.#random = random;
    this.#model = model;
  }

  get latencyNs(): number {
    return this.#slow ? SLOWDOWN * this.#model.latencyNs : this.#model.latencyNs;
  }

  get bytesPerSecond(): number {
    return this.#slow ? this.#model.bytesPerSecond / SLOWDOWN : this.#model.bytesPerSecond;
  }

  readonly extraDelayNs = (): number => {
    const nowNs = this.#clock.now();
    const jitterNs = this.#model.jitterNs + (nowNs < this.#unevenUntilNs ? UNEVENNESS_NS : 0);
    const jitter = jitterNs > 0 ? Math.round(jitterNs * this.#random.float()) : 0;
    // TCP sends again what a partition has swallowed: it comes once that has healed.
    return jitter + Math.max(0, this.#blockedUntilNs - nowNs);
  };

  unsettle(durationNs: number): void {
    this.#unevenUntilNs = this.#clock.now() + durationNs;
  }

  slowDown(durationNs: number): void {
    this.#slowUntilNs = this.#clock.now() + durationNs;
  }

  block(durationNs: number): void {
    this.#blockedUntilNs = this.#clock.now() + durationNs;
  }

  get #slow(): boolean {
    return this.#clock.now() < this.#slowUntilNs;
  }
}
