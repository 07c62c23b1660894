/** Measurements of a run of a workload: of one interval, and of the whole run. */
import { MS, SECOND } from "../core/clock.ts";
import { LatencyHistogram } from "./latency_histogram.ts";
import { type Failure, type Result, UNDECIDED } from "./result.ts";

/** Why a request of an open loop was not sent when it was due. */
export type DropReason = "outstanding" | "network" | "late";

/** A request sent later than this after it was due counts as late. */
export const LATE_NS = 10 * MS;

/** Requests that settled in one interval. Latencies are of the successful ones, NaN if none were. */
export interface Interval {
  readonly durationNs: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Sent, and not answered before the connection was lost: {@link UNDECIDED}. */
  readonly undecided: number;
  /** Requests that were due and not sent. */
  readonly dropped: number;
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
  /** Sent, and not answered before the connection was lost: {@link UNDECIDED}. Neither success nor failure. */
  readonly undecided: number;
  /** Failed requests by who said so and status, most first. */
  readonly failures: readonly FailureCount[];
  /** Requests of open loops that were due and not sent, by reason; they are not in `requests`. */
  readonly drops: Readonly<Record<DropReason, number>>;
  /** Requests of open loops that were sent more than {@link LATE_NS} after they were due. */
  readonly late: number;
}

export interface FailureCount {
  readonly from: Failure["from"];
  readonly status: number;
  readonly count: number;
  /** What the first of them said. */
  readonly example: string;
}

class Counts {
  succeeded = 0;
  failed = 0;
  undecided = 0;
  dropped = 0;
  sumNs = 0;
  minNs = Infinity;
  maxNs = -Infinity;
}

export class Statistics {
  readonly #startNs: number;
  #intervalStartNs: number;
  #interval = new Counts();
  readonly #latencies = new LatencyHistogram();
  /** By who said so and the status. */
  readonly #failures = new Map<string, FailureCount & { count: number }>();
  readonly #drops: Record<DropReason, number> = { outstanding: 0, network: 0, late: 0 };
  #late = 0;
  #failed = 0;
  #undecided = 0;
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
    if (!result.ok && result.status === UNDECIDED) {
      interval.undecided++;
      this.#undecided++;
      return;
    }
    if (!result.ok) {
      interval.failed++;
      this.#failed++;
      const { from, status, message } = result;
      const known = this.#failures.get(`${from} ${status}`);
      if (known !== undefined) known.count++;
      else this.#failures.set(`${from} ${status}`, { from, status, count: 1, example: message });
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

  /** Counts a request that was due and not sent. */
  drop(reason: DropReason): void {
    this.#interval.dropped++;
    this.#drops[reason]++;
  }

  /** Counts a request as sent so long after it was due. */
  sentLate(lateNs: number): void {
    if (lateNs > LATE_NS) this.#late++;
  }

  /** What was recorded since the last call (or the start), and begins the next interval. */
  takeInterval(nowNs: number): Interval {
    const durationNs = nowNs - this.#intervalStartNs;
    const { succeeded, failed, undecided, dropped, sumNs, minNs, maxNs } = this.#interval;
    this.#intervalStartNs = nowNs;
    this.#interval = new Counts();
    return {
      durationNs,
      succeeded,
      failed,
      undecided,
      dropped,
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
      requests: succeeded + this.#failed + this.#undecided,
      succeeded,
      inTime: this.#inTime,
      goodput: perSecond(this.#inTime, durationNs),
      p50Ns: this.#latencies.quantile(0.5),
      p99Ns: this.#latencies.quantile(0.99),
      maxNs: succeeded === 0 ? NaN : this.#maxNs,
      undecided: this.#undecided,
      failures: [...this.#failures.values()].sort((a, b) => b.count - a.count),
      drops: { ...this.#drops },
      late: this.#late,
    };
  }
}

function perSecond(count: number, durationNs: number): number {
  return durationNs > 0 ? count * SECOND / durationNs : 0;
}
