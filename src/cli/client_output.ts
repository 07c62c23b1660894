/** How the client prints its measurements. Times are in milliseconds. */
import { MS, SECOND } from "../core/clock.ts";
import { describeStatus } from "../client/result.ts";
import { type DropReason, type Interval, LATE_NS, type Summary } from "../client/statistics.ts";

function ms(ns: number): string {
  return Number.isNaN(ns) ? "-" : (ns / MS).toFixed(2);
}

/**
 * E.g. `throughput=401.83 min=3.82 max=7.74 mean=4.96`; `failed=`, `undecided=` and `dropped=` follow when
 * some were.
 */
export function intervalLine(interval: Interval): string {
  const { throughput, minNs, maxNs, meanNs } = interval;
  const line = `throughput=${throughput.toFixed(2)} min=${ms(minNs)} max=${ms(maxNs)} mean=${
    ms(meanNs)
  }`;
  return line + counts(interval);
}

/** Those of the counts that are not 0. */
function counts(of: { failed: number; undecided: number; dropped: number }): string {
  return (["failed", "undecided", "dropped"] as const)
    .map((name) => of[name] === 0 ? "" : ` ${name}=${of[name]}`).join("");
}

const dropReasons: Readonly<Record<DropReason, string>> = {
  outstanding: "too many requests were waiting for answers (see --max-outstanding)",
  network: "the network to the controller was slower than the load",
  late: "this machine was stalled for more than a second, or is too slow for the load",
};

export function summaryLines(summary: Summary): string[] {
  const { requests, succeeded, undecided, goodput, p50Ns, p99Ns, maxNs, durationNs, late } =
    summary;
  const line = `requests=${requests} success=${successPercent(summary).toFixed(2)}% ` +
    `p50=${ms(p50Ns)} p99=${ms(p99Ns)} max=${ms(maxNs)} goodput=${goodput.toFixed(2)} ` +
    `duration=${(durationNs / SECOND).toFixed(1)}s`;
  // Rounding must not hide a failure in a long run.
  const failed = requests - succeeded - undecided;
  const dropped = droppedOf(summary);
  return [
    line + counts({ failed, undecided, dropped }),
    ...summary.failures.map(({ status, count, example }) =>
      `failed ${count} × ${describeStatus(status)}${example === "" ? "" : `: ${example}`}`
    ),
    ...(undecided === 0 ? [] : [
      `undecided ${undecided}: sent, but the connection was lost before the answer: they may or may not ` +
      "have been executed",
    ]),
    ...(succeeded === summary.inTime ? [] : [
      `answered ${succeeded - summary.inTime} after their deadline: they do not count as success`,
    ]),
    ...Object.entries(dropReasons).map(([reason, why]) => ({
      count: summary.drops[reason as DropReason],
      why,
    })).filter(({ count }) => count > 0).map(({ count, why }) => `dropped ${count}: ${why}`),
    ...(late === 0 ? [] : [
      `late ${late}: requests sent more than ${
        LATE_NS / MS
      } ms after their time, as this machine was busy`,
    ]),
  ];
}

function droppedOf({ drops }: Summary): number {
  return Object.values(drops).reduce((sum, count) => sum + count, 0);
}

/** What became of the connection. */
export interface ConnectionCounts {
  readonly reconnects: number;
  /** Answers that no request was waiting for, second answers among them. */
  readonly strayAnswers: number;
}

/** One interval as a line of JSON; a latency that there is not is null. */
export function intervalJson(interval: Interval): string {
  const { durationNs, succeeded, failed, undecided, dropped, throughput, minNs, maxNs, meanNs } =
    interval;
  return JSON.stringify({
    type: "interval",
    duration_s: durationNs / SECOND,
    succeeded,
    failed,
    undecided,
    dropped,
    throughput,
    min_ms: minNs / MS,
    max_ms: maxNs / MS,
    mean_ms: meanNs / MS,
  });
}

export function summaryJson(
  summary: Summary,
  { reconnects, strayAnswers }: ConnectionCounts,
): string {
  const { durationNs, requests, succeeded, undecided, inTime, goodput, p50Ns, p99Ns, maxNs } =
    summary;
  return JSON.stringify({
    type: "summary",
    duration_s: durationNs / SECOND,
    requests,
    succeeded,
    in_time: inTime,
    goodput,
    p50_ms: p50Ns / MS,
    p99_ms: p99Ns / MS,
    max_ms: maxNs / MS,
    undecided,
    failures: summary.failures,
    dropped: droppedOf(summary),
    drops: summary.drops,
    late: summary.late,
    reconnects,
    stray_answers: strayAnswers,
  });
}

/** An answer after its deadline is none: the user has gone. */
function successPercent({ requests, inTime }: Summary): number {
  return requests === 0 ? 0 : 100 * inTime / requests;
}
