/** What became of requests, by the tenth of a second in which they were due. */

export const BUCKET_MS = 100;
/** Service is back when it has been good for so long. */
const STEADY_BUCKETS = 5;

export interface Bucket {
  /** When it began, in milliseconds since the epoch. */
  readonly atMs: number;
  sent: number;
  /** Answered within the deadline. */
  good: number;
  /** Answered later. */
  late: number;
  /** Answered by the controller, with an error. */
  refused: number;
  /** Sent, and the connection was lost before the answer. */
  undecided: number;
  /** Never sent, as there was no connection. */
  unsent: number;
  /** Settled more than once: a mistake. */
  twice: number;
  /** Not settled yet. */
  waiting: number;
  /** Of the answers that were no errors. */
  readonly latenciesMs: number[];
}

export function newBucket(atMs: number): Bucket {
  return {
    atMs,
    sent: 0,
    good: 0,
    late: 0,
    refused: 0,
    undecided: 0,
    unsent: 0,
    twice: 0,
    waiting: 0,
    latenciesMs: [],
  };
}

/** What the rows of a table show. */
export const COUNTS = ["sent", "good", "late", "refused", "undecided", "unsent"] as const;

/** One bucket for all that began within [fromMs, untilMs). */
export function sum(buckets: readonly Bucket[], fromMs = -Infinity, untilMs = Infinity): Bucket {
  const total = newBucket(fromMs);
  for (const bucket of buckets) {
    if (bucket.atMs < fromMs || bucket.atMs >= untilMs) continue;
    for (const name of [...COUNTS, "twice", "waiting"] as const) total[name] += bucket[name];
    total.latenciesMs.push(...bucket.latenciesMs);
  }
  return total;
}

/** The latency that this share of the answers had at most, in milliseconds; NaN without answers. */
export function quantileMs({ latenciesMs }: Bucket, share: number): number {
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
}

/**
 * When service was good again after `fromMs`, in milliseconds after it: from then on at least `goodShare`
 * of all clients' requests were answered in time, for half a second. Null if it was not before `untilMs`.
 */
export function goodAgainMs(
  buckets: readonly Bucket[],
  fromMs: number,
  untilMs: number,
  goodShare: number,
): number | null {
  let steady = 0;
  for (let atMs = fromMs; atMs + BUCKET_MS <= untilMs; atMs += BUCKET_MS) {
    const { sent, good } = sum(buckets, atMs, atMs + BUCKET_MS);
    steady = sent > 0 && good >= goodShare * sent ? steady + 1 : 0;
    if (steady === STEADY_BUCKETS) return atMs - (STEADY_BUCKETS - 1) * BUCKET_MS - fromMs;
  }
  return null;
}

/** What must never be: problems, in words. `strayAnswers` came for requests that had been answered. */
export function broken(all: Bucket, strayAnswers: number): string[] {
  return [
    ...(all.twice > 0 ? [`${all.twice} requests settled twice`] : []),
    ...(all.waiting > 0 ? [`${all.waiting} requests never settled`] : []),
    ...(strayAnswers > 0 ? [`${strayAnswers} answers came twice`] : []),
  ];
}

/** Lines of a table in Markdown; the first row is its head. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const lines = rows.map((row) =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`
  );
  lines.splice(1, 0, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`);
  return lines.join("\n");
}
