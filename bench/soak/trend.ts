/** Whether something grows. */

export interface Point {
  readonly hours: number;
  readonly value: number;
}

export interface Trend {
  readonly mean: number;
  readonly min: number;
  readonly max: number;
  /** Of the line that fits best. */
  readonly perHour: number;
  /** How much that line rises from the first point to the last, as a part of the mean. */
  readonly growth: number;
}

/** The trend of at least two points, by least squares. */
export function trendOf(points: readonly Point[]): Trend {
  const n = points.length;
  const values = points.map(({ value }) => value);
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const meanHours = points.reduce((sum, { hours }) => sum + hours, 0) / n;
  let covariance = 0, variance = 0;
  for (const { hours, value } of points) {
    covariance += (hours - meanHours) * (value - mean);
    variance += (hours - meanHours) ** 2;
  }
  const perHour = variance === 0 ? 0 : covariance / variance;
  const growth = perHour * (points[n - 1]!.hours - points[0]!.hours) / mean;
  return { mean, min: Math.min(...values), max: Math.max(...values), perHour, growth };
}
