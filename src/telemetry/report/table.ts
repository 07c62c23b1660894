/** The report as text for a terminal. */
import { formatCount as whole, formatMs as ms, formatShare as percent } from "./format.ts";
import { GPU_COLUMNS, gpuRow } from "./gpu_row.ts";
import type { LatencyReport, ModelReport, Report } from "./report.ts";

/** Rows of models and of GPUs; the page and `--json` have more. */
const MAX_MODEL_ROWS = 10;
const MAX_GPU_ROWS = 32;

/** The report's lines. */
export function reportLines(report: Report): string[] {
  const sections = [
    overview(report),
    answers(report),
    latencies(report),
    models(report),
    actions(report),
    predictions(report),
    gpus(report),
    report.notes.map((note) => `Note: ${note}.`),
  ];
  return sections.filter((lines) => lines.length > 0)
    .flatMap((lines, i) => i === 0 ? lines : ["", ...lines]);
}

function overview({ begin, durationS, requests }: Report): string[] {
  const { count, offeredPerS, goodputPerS, inTime, late, coldStarts } = requests;
  return table(["", ""], [
    ["Begin", begin ?? "–"],
    ["Duration", `${durationS.toFixed(1)} s`],
    ["Requests", `${whole(count)} (${offeredPerS.toFixed(1)} per second)`],
    ["Answered in time", share(inTime, count)],
    ["Goodput", `${goodputPerS.toFixed(1)} per second`],
    ["Answered late", share(late, count)],
    ["Cold starts", share(coldStarts, count)],
  ], "ll").slice(1);
}

function answers({ requests }: Report): string[] {
  if (requests.count === 0) return [];
  return table(
    ["Status", "", "Requests", "Part"],
    requests.byStatus.map(({ status, name, count }) => [
      `${status}`,
      name,
      whole(count),
      percent(count, requests.count),
    ]),
    "rlrr",
  );
}

function latencies({ requests }: Report): string[] {
  const row = (name: string, latency: LatencyReport | null) =>
    latency === null ? [] : [[
      name,
      ...[
        latency.minNs,
        latency.meanNs,
        latency.p50Ns,
        latency.p99Ns,
        latency.p999Ns,
        latency.p9999Ns,
        latency.maxNs,
      ].map((ns) => ms(ns)),
    ]];
  const rows = [
    ...row("Results", requests.latency),
    ...row("Cold starts", requests.coldLatency),
  ];
  if (rows.length === 0) return [];
  return table(
    ["Latency, ms", "min", "mean", "p50", "p99", "p99.9", "p99.99", "max"],
    rows,
    "lrrrrrrr",
  );
}

function models({ models: { count, worst } }: Report): string[] {
  if (count === 0) return [];
  const shown = worst.slice(0, MAX_MODEL_ROWS);
  const title = count > shown.length ? `Worst of ${whole(count)} models` : "Models, worst first";
  return table(
    [title, "requests", "in time", "cold", "p50, ms", "p99, ms", "max, ms"],
    shown.map((model: ModelReport) => [
      `${model.modelId}`,
      whole(model.requests),
      percent(model.inTime, model.requests),
      whole(model.coldStarts),
      ms(model.p50Ns),
      ms(model.p99Ns),
      ms(model.maxNs),
    ]),
    "lrrrrrr",
  );
}

function actions({ actions: { byType, failures } }: Report): string[] {
  if (byType.length === 0) return [];
  return [
    ...table(
      ["Actions", "done", "failed"],
      byType.map(({ name, count, failed }) => [name, whole(count - failed), whole(failed)]),
      "lrr",
    ),
    ...failures.map(({ action, status, name, count }) =>
      `  ${action} failed with ${status} (${name}): ${whole(count)}`
    ),
  ];
}

function predictions({ predictionErrors }: Report): string[] {
  if (predictionErrors.length === 0) return [];
  return table(
    ["Prediction error, ms", "min", "p1", "p50", "p99", "p99.9", "max"],
    predictionErrors.map(({ action, what, minNs, p1Ns, p50Ns, p99Ns, p999Ns, maxNs }) => [
      `${action} ${what}`,
      ...[minNs, p1Ns, p50Ns, p99Ns, p999Ns, maxNs].map((ns) => ms(ns, 3)),
    ]),
    "lrrrrrr",
  );
}

function gpus({ gpus }: Report): string[] {
  if (gpus.length === 0) return [];
  const shown = gpus.slice(0, MAX_GPU_ROWS);
  return [
    ...table(
      ["GPU", ...GPU_COLUMNS],
      shown.map(gpuRow),
      "lrrrrrrrr",
    ),
    ...(gpus.length > shown.length ? [`… and ${gpus.length - shown.length} GPUs more`] : []),
  ];
}

/** Columns as wide as they must be; `align` has `l` or `r` for each. */
function table(head: readonly string[], rows: readonly string[][], align: string): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => row[i]!.length)));
  return all.map((row) =>
    row.map((text, i) => align[i] === "l" ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))
      .join("  ").trimEnd()
  );
}

function share(count: number, of: number): string {
  return of === 0 ? "0" : `${whole(count)} (${percent(count, of)})`;
}
