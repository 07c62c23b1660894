/** What the client prints of its measurements. Times are in milliseconds. */
import { MS, SECOND } from "../core/clock.ts";
import { describeStatus } from "../client/result.ts";
import type { Interval, Summary } from "../client/statistics.ts";

function ms(ns: number): string {
  return Number.isNaN(ns) ? "-" : (ns / MS).toFixed(2);
}

/** E.g. `throughput=401.83 min=3.82 max=7.74 mean=4.96`; `failed=` follows when some did. */
export function intervalLine({ throughput, minNs, maxNs, meanNs, failed }: Interval): string {
  const line = `throughput=${throughput.toFixed(2)} min=${ms(minNs)} max=${ms(maxNs)} mean=${
    ms(meanNs)
  }`;
  return failed === 0 ? line : `${line} failed=${failed}`;
}

export function summaryLines(summary: Summary): string[] {
  const { requests, succeeded, goodput, p50Ns, p99Ns, maxNs, durationNs } = summary;
  const line = `requests=${requests} success=${successPercent(summary).toFixed(2)}% ` +
    `p50=${ms(p50Ns)} p99=${ms(p99Ns)} max=${ms(maxNs)} goodput=${goodput.toFixed(2)} ` +
    `duration=${(durationNs / SECOND).toFixed(1)}s`;
  // Rounding must not hide a failure in a long run.
  const failed = requests - succeeded;
  return [
    failed === 0 ? line : `${line} failed=${failed}`,
    ...summary.failures.map(({ status, count, example }) =>
      `failed ${count} × ${describeStatus(status)}${example === "" ? "" : `: ${example}`}`
    ),
  ];
}

/** One interval as a line of JSON; a latency that there is not is null. */
export function intervalJson(interval: Interval): string {
  const { durationNs, succeeded, failed, throughput, minNs, maxNs, meanNs } = interval;
  return JSON.stringify({
    type: "interval",
    duration_s: durationNs / SECOND,
    succeeded,
    failed,
    throughput,
    min_ms: minNs / MS,
    max_ms: maxNs / MS,
    mean_ms: meanNs / MS,
  });
}

export function summaryJson(summary: Summary): string {
  const { durationNs, requests, succeeded, inTime, goodput, p50Ns, p99Ns, maxNs } = summary;
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
    failures: summary.failures,
  });
}

function successPercent({ requests, succeeded }: Summary): number {
  return requests === 0 ? 0 : 100 * succeeded / requests;
}
