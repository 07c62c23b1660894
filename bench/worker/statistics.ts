/** What the worker's benchmarks make of their samples. */
import { Random } from "../../src/core/random.ts";

export function quantile(values: readonly number[], q: number): number {
  return values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(q * values.length) - 1)]!;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Two times that were measured next to each other, so that whatever disturbs disturbs both alike. */
export interface Pair {
  readonly a: number;
  readonly b: number;
}

export interface Ratio {
  /** The median of `b / a` over all pairs. */
  readonly median: number;
  /** Bounds of its 95 % confidence interval. */
  readonly low: number;
  readonly high: number;
}

const RESAMPLES = 2000;

/**
 * How many times `a` `b` is, with the percentile bootstrap's interval (Efron, 1979): the same of many samples
 * drawn from these pairs with replacement.
 */
export function pairedRatio(pairs: readonly Pair[], seed = 1): Ratio {
  const ratios = pairs.map(({ a, b }) => b / a);
  const random = new Random(seed);
  const medians = Array.from(
    { length: RESAMPLES },
    () => median(ratios.map(() => ratios[random.below(ratios.length)]!)),
  );
  return {
    median: median(ratios),
    low: quantile(medians, 0.025),
    high: quantile(medians, 0.975),
  };
}

/** Prints rows below each other, their cells right-aligned. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  for (const row of rows) {
    console.log("  " + row.map((cell, i) => cell.padStart(widths[i]!)).join("  ").trimEnd());
  }
}
