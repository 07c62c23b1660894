/** What a run of a workload measured: counts of one interval, and of the whole run. */
import { SECOND } from "../core/clock.ts";
import { LatencyHistogram } from "./latency_histogram.ts";
import type { Result } from "./result.ts";

/** Requests that settled in one interval. Latencies are of the successful ones, NaN if none were. */
export interface Interval {
  readonly durationNs: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Successful requests a second. */
  readonly throughput: number;
  readonly minNs: number;
  readonly maxNs: number;
  readonly meanNs: number;
}

/** The whole run. */
export interface Summary {
  readonly durationNs: number;
  readonly requests: number;
  readonly succeeded: number;
  /** Successful, and not later than the deadline where the client had set one. */
  readonly inTime: number;
  /** `inTime` a second. */
  readonly goodput: number;
  readonly p50Ns: number;
  readonly p99Ns: number;
  readonly maxNs: number;
  /** Failed requests by status, most first. */
  readonly failures: readonly FailureCount[];
}

export interface FailureCount {
  readonly status: number;
  readonly count: number;
  /** What the first of them said. */
  readonly example: string;
}

class Counts {
  succeeded = 0;
  failed = 0;
  sumNs = 0;
  minNs = Infinity;
  maxNs = -Infinity;
}

export class Statistics {
  readonly #startNs: number;
  #intervalStartNs: number;
  #interval = new Counts();
  readonly #latencies = new LatencyHistogram();
  readonly #failures = new Map<number, { status: number; count: number; example: string }>();
  #failed = 0;
  #inTime = 0;
  #maxNs = -Infinity;

  constructor(nowNs: number) {
    this.#startNs = nowNs;
    this.#intervalStartNs = nowNs;
  }

  get succeeded(): number {
    return this.#latencies.count;
  }

  /** Counts a request that settled. `deadlineNs` is what it was allowed to take; Infinity if unknown. */
  record(result: Result<unknown>, deadlineNs: number): void {
    const interval = this.#interval;
    if (!result.ok) {
      interval.failed++;
      this.#failed++;
      const known = this.#failures.get(result.status);
      if (known !== undefined) known.count++;
      else {
        const { status, message } = result;
        this.#failures.set(status, { status, count: 1, example: message });
      }
      return;
    }
    const { latencyNs } = result;
    interval.succeeded++;
    interval.sumNs += latencyNs;
    if (latencyNs < interval.minNs) interval.minNs = latencyNs;
    if (latencyNs > interval.maxNs) interval.maxNs = latencyNs;
    if (latencyNs > this.#maxNs) this.#maxNs = latencyNs;
    if (latencyNs <= deadlineNs) this.#inTime++;
    this.#latencies.add(latencyNs);
  }

  /** What was recorded since the last call (or the start), and begins the next interval. */
  takeInterval(nowNs: number): Interval {
    const durationNs = nowNs - this.#intervalStartNs;
    const { succeeded, failed, sumNs, minNs, maxNs } = this.#interval;
    this.#intervalStartNs = nowNs;
    this.#interval = new Counts();
    return {
      durationNs,
      succeeded,
      failed,
      throughput: perSecond(succeeded, durationNs),
      minNs: succeeded === 0 ? NaN : minNs,
      maxNs: succeeded === 0 ? NaN : maxNs,
      meanNs: sumNs / succeeded,
    };
  }

  summary(nowNs: number): Summary {
    const durationNs = nowNs - this.#startNs;
    const succeeded = this.#latencies.count;
    return {
      durationNs,
      requests: succeeded + this.#failed,
      succeeded,
      inTime: this.#inTime,
      goodput: perSecond(this.#inTime, durationNs),
      p50Ns: this.#latencies.quantile(0.5),
      p99Ns: this.#latencies.quantile(0.99),
      maxNs: succeeded === 0 ? NaN : this.#maxNs,
      failures: [...this.#failures.values()].sort((a, b) => b.count - a.count),
    };
  }
}

function perSecond(count: number, durationNs: number): number {
  return durationNs > 0 ? count * SECOND / durationNs : 0;
}
