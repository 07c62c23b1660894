/** Whether a process's memory grows. */

export interface Point {
  readonly hours: number;
  readonly value: number;
}

export interface Trend {
  readonly mean: number;
  readonly min: number;
  readonly max: number;
  /** By how much the floor rises. */
  readonly perHour: number;
  /** Bounds of its 95 % confidence interval. */
  readonly low: number;
  readonly high: number;
  /** Whether it surely rises, and from the first point to the last by more than `FLAT`. */
  readonly grows: boolean;
}

/** Parts of the run, of each of which the lowest point counts. */
const PARTS = 12;
/** Growth, as a part of the mean, that is still called flat. */
const FLAT = 0.1;
/** Of the standard normal distribution, for an interval of 95 %. */
const Z = 1.96;

/**
 * The trend of at least two points, which are in order of time.
 *
 * Only floors count: what is above them is garbage that waits for its collector, and there is more of it
 * when there is more to do or the machine is busy; a leak raises the floor. The slope is Sen's, the median
 * of those between all pairs, with the interval that follows from Kendall's rank correlation (P. K. Sen,
 * "Estimates of the regression coefficient based on Kendall's tau", 1968): a few high floors among the rest
 * do not move it, and nothing is assumed of how values are distributed.
 */
export function trendOf(points: readonly Point[]): Trend {
  const values = points.map(({ value }) => value);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const floors = floorsOf(points);
  const slopes = floors.flatMap((from, i) =>
    floors.slice(i + 1).map((to) => (to.value - from.value) / (to.hours - from.hours))
  ).sort((a, b) => a - b);
  const n = floors.length;
  const reach = Z * Math.sqrt(n * (n - 1) * (2 * n + 5) / 18);
  const nth = (rank: number) => slopes[Math.min(Math.max(Math.round(rank), 0), slopes.length - 1)]!;
  const perHour = nth((slopes.length - 1) / 2);
  const low = nth((slopes.length - 1 - reach) / 2);
  const high = nth((slopes.length - 1 + reach) / 2);
  const hours = points.at(-1)!.hours - points[0]!.hours;
  const grows = low > 0 && perHour * hours > FLAT * mean;
  return { mean, min: Math.min(...values), max: Math.max(...values), perHour, low, high, grows };
}

/** The lowest point of each part. */
function floorsOf(points: readonly Point[]): Point[] {
  const parts = Math.min(PARTS, points.length);
  return Array.from({ length: parts }, (_, i) => {
    const [from, to] = [i, i + 1].map((k) => Math.floor(k * points.length / parts));
    return points.slice(from, to).reduce((least, point) =>
      point.value < least.value ? point : least
    );
  });
}
