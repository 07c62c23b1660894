/** For tests: whether arrivals are what they should be. */

/**
 * How far a sample is from a distribution: the Kolmogorov-Smirnov statistic times the square root of
 * the sample's size. Of samples that do come from it, 99.9 % have less than {@link KS_LIMIT}.
 */
export function ksStatistic(sample: readonly number[], cdf: (x: number) => number): number {
  const sorted = sample.toSorted((a, b) => a - b);
  const n = sorted.length;
  let largest = 0;
  for (const [i, x] of sorted.entries()) {
    const p = cdf(x);
    largest = Math.max(largest, p - i / n, (i + 1) / n - p);
  }
  return largest * Math.sqrt(n);
}

export const KS_LIMIT = 1.949;

/** The exponential distribution. */
export function exponentialCdf(mean: number): (x: number) => number {
  return (x) => 1 - Math.exp(-x / mean);
}

export function gapsOf(times: readonly number[]): number[] {
  return times.slice(1).map((time, i) => time - times[i]!);
}
