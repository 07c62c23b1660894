/** Turns a day of the trace into segments of an open loop, whose values choose models. */
import type { Random } from "../../core/random.ts";
import type { Segment } from "../generators/segments.ts";
import type { ModelTrace } from "./trace.ts";
import { MINUTES } from "./trace_file.ts";

/** Seconds of a minute of the trace. */
const MINUTE_S = 60;

export interface ReplayOptions {
  /** Requests for each invocation of the trace, in one period after the other. */
  readonly scales: readonly number[];
  /** How long each scale is in force; Infinity for one that stays. */
  readonly periodNs: number;
  /** How long each minute of the trace takes. Its rates stay what they are. */
  readonly intervalNs: number;
  /** The minute it starts with; after the day's last comes its first. */
  readonly firstMinute: number;
  /** When it ends, if not before with the last period. */
  readonly endNs: number;
}

/** Chooses among models with the probabilities of one minute. */
export class Mix {
  /** Sums of the counts up to each model. */
  readonly #sums: Float64Array;

  constructor(counts: Float32Array) {
    const sums = this.#sums = new Float64Array(counts.length);
    let sum = 0;
    for (let i = 0; i < counts.length; i++) sums[i] = sum += counts[i]!;
  }

  get total(): number {
    return this.#sums.at(-1) ?? 0;
  }

  /** The first model whose sum is more than a random share of all. */
  pick(random: Random): number {
    const sums = this.#sums;
    const wanted = random.float() * this.total;
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sums[middle]! > wanted) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/**
 * A segment for each minute and scale. A Poisson process over the sum of all models' rates, whose
 * requests are given to the models in proportion, is one Poisson process for each model.
 */
export function* replay(
  trace: ModelTrace,
  { scales, periodNs, intervalNs, firstMinute, endNs }: ReplayOptions,
): Generator<Segment<Mix>> {
  let timeNs = 0;
  let mix = new Mix(trace.minute(firstMinute));
  for (let interval = 0, period = 0; timeNs < endNs && period < scales.length;) {
    const intervalEndNs = (interval + 1) * intervalNs;
    const periodEndNs = (period + 1) * periodNs;
    const rate = mix.total / MINUTE_S * scales[period]!;
    timeNs = Math.min(intervalEndNs, periodEndNs, endNs);
    yield { rate, endNs: timeNs, value: mix };
    if (timeNs === periodEndNs) period++;
    if (timeNs === intervalEndNs) {
      interval++;
      mix = new Mix(trace.minute((firstMinute + interval) % MINUTES));
    }
  }
}

/** Requests a second on average over the day, at scale 1. */
export function meanRate({ invocations }: ModelTrace): number {
  return invocations / MINUTES / MINUTE_S;
}

/** The models in random order. */
export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}
