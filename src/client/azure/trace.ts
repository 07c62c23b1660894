/** A day of the trace, with its functions assigned to models. */
import { MINUTES, readTrace, TraceError } from "./trace_file.ts";

/** Invocations by model and minute. */
export class ModelTrace {
  readonly models: number;
  readonly functions: number;
  /** All counts of the day. */
  readonly invocations: number;
  /** `counts[minute * models + model]`. */
  readonly #counts: Float32Array;

  constructor(models: number, functions: number, invocations: number, counts: Float32Array) {
    this.models = models;
    this.functions = functions;
    this.invocations = invocations;
    this.#counts = counts;
  }

  /** Invocations of each model in one minute from 0. */
  minute(minute: number): Float32Array {
    return this.#counts.subarray(minute * this.models, (minute + 1) * this.models);
  }
}

/**
 * Reads a day and gives its functions to `models` models. Functions are sorted by their invocations,
 * most first, and dealt in blocks of as many as there are models: the first block's functions go to
 * models 0, 1, 2, …, so do those of the second, and so on until all have one. So each model has
 * about the same number of functions, popular and rare ones.
 *
 * The file is read twice, first for the order, so that memory does not grow with the functions.
 *
 * @throws {TraceError}
 */
export function readModelTrace(path: string, models: number): ModelTrace {
  const totals: number[] = [];
  let invocations = 0;
  const functions = readTrace(path, (row, _, count) => {
    while (totals.length <= row) totals.push(0);
    totals[row]! += count;
    invocations += count;
  });
  if (invocations === 0) throw new TraceError(`${path} has no invocations`);
  while (totals.length < functions) totals.push(0);
  const modelOf = new Uint32Array(functions);
  // The order of functions with as many invocations is that of the file.
  Array.from(totals.keys()).sort((a, b) => totals[b]! - totals[a]! || a - b)
    .forEach((row, rank) => modelOf[row] = rank % models);
  const counts = new Float32Array(MINUTES * models);
  readTrace(path, (row, minute, count) => {
    if (row < functions) counts[minute * models + modelOf[row]!]! += count;
  });
  return new ModelTrace(models, functions, invocations, counts);
}
