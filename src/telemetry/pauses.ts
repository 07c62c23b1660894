/**
 * Counts pauses of the event loop, during which nothing is scheduled, and determines their causes.
 *
 * A timer is due every 10 ms. If it fires more than 5 ms late, there was a pause; a pause of 15 ms or more
 * is always detected, one of 10 ms half of the time.
 */
import { type Clock, every, MS, type Timer } from "../core/clock.ts";

/**
 * - `collector`: memory was collected, as less of it was in use afterwards
 * - `work`: a piece of our own work took that long
 * - `machine`: the process did not run for most of the time; the machine ran others
 */
export const PAUSE_CAUSES = ["collector", "work", "machine"] as const;
export type PauseCause = typeof PAUSE_CAUSES[number];

/** What the process has used so far. */
export interface ProcessUsage {
  /** CPU time of all threads, in nanoseconds. */
  readonly cpuNs: number;
  readonly heapBytes: number;
}

const PROBE_NS = 10 * MS;
/** Shorter pauses do not count. */
export const PAUSE_NS = 5 * MS;

/** Pauses of some time. */
export interface PauseCounts {
  readonly counts: Readonly<Record<PauseCause, number>>;
  readonly longestNs: number;
}

export class PauseWatch {
  readonly #clock: Clock;
  readonly #usage: () => ProcessUsage;
  readonly #timer: Timer;
  readonly #total: Record<PauseCause, number> = { collector: 0, work: 0, machine: 0 };
  #recent: Record<PauseCause, number> = { collector: 0, work: 0, machine: 0 };
  #longestNs = 0;
  #before: ProcessUsage;
  #dueNs: number;

  constructor(clock: Clock, usage: () => ProcessUsage) {
    this.#clock = clock;
    this.#usage = usage;
    this.#before = usage();
    this.#dueNs = clock.now() + PROBE_NS;
    this.#timer = every(clock, PROBE_NS, () => this.#probe());
  }

  /** All pauses so far, by cause. */
  get total(): Readonly<Record<PauseCause, number>> {
    return this.#total;
  }

  /** Pauses since the last call; null when there were none. */
  take(): PauseCounts | null {
    if (this.#longestNs === 0) return null;
    const taken = { counts: this.#recent, longestNs: this.#longestNs };
    this.#recent = { collector: 0, work: 0, machine: 0 };
    this.#longestNs = 0;
    return taken;
  }

  close(): void {
    this.#timer.cancel();
  }

  #probe(): void {
    const nowNs = this.#clock.now();
    const lateNs = nowNs - this.#dueNs;
    const after = this.#usage();
    if (lateNs > PAUSE_NS) {
      const cause = this.#causeOf(lateNs, after);
      this.#total[cause]++;
      this.#recent[cause]++;
      this.#longestNs = Math.max(this.#longestNs, lateNs);
    }
    this.#before = after;
    this.#dueNs = Math.max(this.#dueNs + PROBE_NS, nowNs);
  }

  #causeOf(lateNs: number, after: ProcessUsage): PauseCause {
    if (after.cpuNs - this.#before.cpuNs < lateNs / 2) return "machine";
    return after.heapBytes < this.#before.heapBytes ? "collector" : "work";
  }
}

const WORDS: Readonly<Record<PauseCause, string>> = {
  collector: "garbage collection",
  work: "own work",
  machine: "the machine was busy",
};

/** E.g. `Pauses above 5 ms: 3, at most 12.1 ms (2 garbage collection, 1 the machine was busy)`. */
export function pausesLine({ counts, longestNs }: PauseCounts): string {
  const causes = PAUSE_CAUSES.filter((cause) => counts[cause] > 0);
  const all = causes.reduce((sum, cause) => sum + counts[cause], 0);
  const parts = causes.map((cause) => `${counts[cause]} ${WORDS[cause]}`).join(", ");
  return `Pauses above ${PAUSE_NS / MS} ms: ${all}, at most ${(longestNs / MS).toFixed(1)} ms ` +
    `(${parts})`;
}
