/**
 * Time, as every part of Clockwork sees it.
 *
 * A time is a `number` of nanoseconds since the process's own origin: exact for 104 days (2^53 ns), and to
 * 2 ns for as long again, to 4 ns for twice as long as that, and so on.
 * Nothing outside `src/core` and `src/cli` reads the machine's clock or sets its timers: parts are
 * handed a {@link Clock}, so that the same code runs in real time and in virtual time.
 */

/** Nanoseconds in a microsecond. */
export const US = 1_000;
/** Nanoseconds in a millisecond. */
export const MS = 1_000_000;
/** Nanoseconds in a second. */
export const SECOND = 1_000_000_000;

/** The longest time or duration: 36 years. Numbers up to it are at most 256 ns apart. */
export const MAX_TIME_NS = 2 ** 60;

/** A pending call made by {@link Clock.at}. */
export interface Timer {
  /** Forgets the call if it has not been made yet; otherwise does nothing. */
  cancel(): void;
}

/** Where time comes from. */
export interface Clock {
  /** The present, in nanoseconds since the process's origin. Never goes back. */
  now(): number;
  /**
   * Calls `fn` once, at or shortly after `timeNs`; never before, and never within this call.
   * Calls that are due at the same time are made in the order they were asked for.
   */
  at(timeNs: number, fn: () => void): Timer;
}

/** Calls `fn` every `periodNs`, first after one period, until the returned timer is cancelled. */
export function every(clock: Clock, periodNs: number, fn: () => void): Timer {
  let dueNs = clock.now() + periodNs;
  let timer: Timer;
  const tick = () => {
    // After a long stall, continue from the present: a burst of overdue ticks helps nobody.
    dueNs = Math.max(dueNs + periodNs, clock.now());
    timer = clock.at(dueNs, tick);
    fn();
  };
  timer = clock.at(dueNs, tick);
  return { cancel: () => timer.cancel() };
}
