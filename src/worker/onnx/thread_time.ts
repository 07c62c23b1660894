/**
 * Translates a thread's time to the process's clock.
 *
 * Both count steadily from different origins, so that one offset holds for good. The difference of the
 * two `performance.timeOrigin` is exact to a microsecond, unless the wall clock was set between the two
 * starts; an exchange of messages bounds the offset for certain, but only to about its round trip, some
 * 50 µs. So the first is used as far as the second allows it.
 */
import type { Clock } from "../../core/clock.ts";

/** One exchange: when the question left and the answer came (this side), and the thread's time between. */
export interface TimeSample {
  readonly sentNs: number;
  readonly receivedNs: number;
  readonly threadMs: number;
}

/**
 * The number to add to the thread's time (in nanoseconds) to get the clock's, nearest to `guessNs`
 * within what all samples allow.
 */
export function threadOffsetNs(samples: readonly TimeSample[], guessNs: number): number {
  let lowNs = -Infinity;
  let highNs = Infinity;
  for (const { sentNs, receivedNs, threadMs } of samples) {
    lowNs = Math.max(lowNs, sentNs - threadMs * 1e6);
    highNs = Math.min(highNs, receivedNs - threadMs * 1e6);
  }
  return Math.round(Math.min(Math.max(guessNs, lowNs), highNs));
}

/** The offset by origins alone. */
export function originOffsetNs(clock: Clock, threadOriginMs: number): number {
  const clockOriginNs = clock.now() - performance.now() * 1e6;
  return clockOriginNs + (threadOriginMs - performance.timeOrigin) * 1e6;
}
