/**
 * How the rate of an open loop changes with time: a sequence of segments, each with one rate and a value
 * of the workload's own (the models to choose from, the SLO in force). All open-loop workloads are
 * made of these. Times count from the start of the run.
 */
import { SECOND } from "../../core/clock.ts";

export interface Segment<T> {
  /** Requests a second; 0 for a pause. */
  readonly rate: number;
  /** Where the segment ends, in nanoseconds from the start; Infinity for the last of an endless run. */
  readonly endNs: number;
  readonly value: T;
}

/** One rate for ever. */
export function constantRate<T>(rate: number, value: T): Segment<T>[] {
  return [{ rate, endNs: Infinity, value }];
}

/** Times at which a bursty generator sends. */
export interface Bursts {
  readonly onNs: number;
  readonly offNs: number;
  /** How far into a cycle (a burst, then a pause) the run starts. */
  readonly phaseNs: number;
}

/** When the burst or pause at `timeNs` ends, and which of the two it is. */
export function burstAt(bursts: Bursts, timeNs: number): { on: boolean; endNs: number } {
  const { onNs, offNs } = bursts;
  // Sums of fractions are off by their rounding: the end of a burst might be found to be before it.
  const phaseNs = Math.round(bursts.phaseNs);
  const cycleNs = onNs + offNs;
  const cycles = Math.floor((timeNs + phaseNs) / cycleNs);
  const startNs = cycles * cycleNs - phaseNs;
  const on = timeNs - startNs < onNs;
  return { on, endNs: startNs + (on ? onNs : cycleNs) };
}

/** The rate within bursts, nothing between them. */
export function* burstyRate<T>(rate: number, bursts: Bursts, value: T): Generator<Segment<T>> {
  for (let endNs = 0;;) {
    const burst = burstAt(bursts, endNs);
    endNs = burst.endNs;
    yield { rate: burst.on ? rate : 0, endNs, value };
  }
}

/** One segment a period for each of `values`. */
export function* periods<T>(
  values: Iterable<T>,
  periodNs: number,
  rateOf: (value: T) => number,
): Generator<Segment<T>> {
  let endNs = 0;
  for (const value of values) {
    endNs += periodNs;
    yield { rate: rateOf(value), endNs, value };
  }
}

/** A value that changes step by step. */
export interface Steps {
  readonly start: number;
  /** The last value that may be reached. */
  readonly end: number;
  readonly by: number;
  readonly op: "add" | "mul";
}

/** More steps than this are a mistake: at a second each they take eleven days. */
export const MAX_STEPS = 1_000_000;

/**
 * Each value from `start` on until it is past `end`, upwards or downwards; `start` in any case.
 *
 * @throws {RangeError} when `end` would not be reached, or not within {@link MAX_STEPS}.
 */
export function stepValues({ start, end, by, op }: Steps): number[] {
  const values = [start];
  const next = (value: number) => op === "add" ? value + by : value * by;
  const up = end >= start;
  if (start !== end && (up ? next(start) <= start : next(start) >= start)) {
    const neutral = op === "add" ? "0" : "1";
    throw new RangeError(`${up ? "more" : "less"} than ${neutral}, as ${start} goes to ${end}`);
  }
  if (start === end) return values;
  // Sums of decimal fractions may miss the end by their rounding.
  const slack = Math.abs(end) * 1e-9;
  while (true) {
    const value = next(values.at(-1)!);
    if (up ? value > end + slack : value < end - slack) return values;
    if (values.length >= MAX_STEPS || value === values.at(-1)) {
      throw new RangeError(`a step that leads from ${start} to ${end} in ${MAX_STEPS} steps`);
    }
    values.push(value);
  }
}

/** Seconds of a parameter in nanoseconds. */
export function seconds(value: number): number {
  return Math.round(value * SECOND);
}
