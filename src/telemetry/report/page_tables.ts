/** The report's numbers as HTML. */
import { formatCount as whole, formatMs as ms, formatShare as percent } from "./format.ts";
import { GPU_COLUMNS, gpuRow } from "./gpu_row.ts";
import type { LatencyReport, Report } from "./report.ts";

export function escapeHtml(text: string): string {
  const names: Readonly<Record<string, string>> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replaceAll(/[&<>"']/g, (character) => names[character]!);
}

/** What comes before the plots, and what after them. */
export function tables(report: Report): { readonly summary: string; readonly details: string } {
  const { requests, models, actions, predictionErrors, gpus, notes } = report;
  const summary = [
    notes.map((note) => `<p class="note">${escapeHtml(note)}.</p>`).join("\n"),
    `<dl class="figures">${
      [
        figure("Requests", whole(requests.count), `${requests.offeredPerS.toFixed(1)} per second`),
        figure("Goodput", requests.goodputPerS.toFixed(1), "answered in time, per second"),
        figure("In time", percent(requests.inTime, requests.count), `${whole(requests.late)} late`),
        figure("p99 latency", `${ms(requests.latency?.p99Ns)} ms`, "of results"),
        figure("Cold starts", percent(requests.coldStarts, requests.count), "of requests"),
        figure("Duration", `${report.durationS.toFixed(1)} s`, ""),
      ].join("")
    }</dl>`,
  ].join("\n");
  const details = [
    section("Answers", ["Status", "", "Requests", "Part"], [
      ...requests.byStatus.map(({ status, name, count }) => [
        `${status}`,
        name,
        whole(count),
        percent(count, requests.count),
      ]),
    ]),
    section(
      "Latency, ms",
      ["", "results", "min", "mean", "p50", "p99", "p99.9", "p99.99", "max"],
      [
        ...latencyRow("All results", requests.latency),
        ...latencyRow("Cold starts", requests.coldLatency),
      ],
    ),
    section(
      models.count > models.worst.length
        ? `Worst of ${whole(models.count)} models`
        : "Models, worst first",
      ["Model", "requests", "in time", "cold starts", "p50, ms", "p99, ms", "max, ms"],
      models.worst.map((model) => [
        `${model.modelId}`,
        whole(model.requests),
        percent(model.inTime, model.requests),
        whole(model.coldStarts),
        ms(model.p50Ns),
        ms(model.p99Ns),
        ms(model.maxNs),
      ]),
    ),
    section(
      "Prediction error, ms",
      ["", "actions", "min", "p1", "p50", "p99", "p99.9", "max"],
      predictionErrors.map(({ action, what, count, ...errors }) => [
        `${action} ${what}`,
        whole(count),
        ...[errors.minNs, errors.p1Ns, errors.p50Ns, errors.p99Ns, errors.p999Ns, errors.maxNs]
          .map((ns) => ms(ns, 3)),
      ]),
      "Above 0: it took longer, or ended later, than predicted.",
    ),
    section(
      "Actions",
      ["", "done", "failed"],
      actions.byType.map(({ name, count, failed }) => [name, whole(count - failed), whole(failed)]),
    ),
    section(
      "Failed actions",
      ["", "Status", "", "Actions"],
      actions.failures.map(({ action, status, name, count }) => [
        action,
        `${status}`,
        name,
        whole(count),
      ]),
    ),
    section(
      "GPUs",
      ["", ...GPU_COLUMNS],
      gpus.map(gpuRow),
      "The part of the time in which inferences ran, and in which weights were loaded.",
    ),
    `<p class="small">Quantiles are within ${
      (100 * report.quantileError.total).toFixed(1)
    } % of the exact values, those of single models within ${
      (100 * report.quantileError.perModel).toFixed(1)
    } %; smallest, largest and counts are exact.</p>`,
  ].join("\n");
  return { summary, details };
}

function figure(name: string, value: string, more: string): string {
  return `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>` +
    `<dd class="small">${escapeHtml(more)}</dd></div>`;
}

/** A table with a title; nothing when it has no rows. */
function section(
  title: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  more = "",
): string {
  if (rows.length === 0) return "";
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  return `<section><h2>${escapeHtml(title)}</h2>${
    more === "" ? "" : `<p>${escapeHtml(more)}</p>`
  }<div class="scroll"><table><thead>${row(head, "th")}</thead><tbody>${
    rows.map((cells) => row(cells, "td")).join("\n")
  }</tbody></table></div></section>`;
}

function latencyRow(name: string, latency: LatencyReport | null): string[][] {
  if (latency === null) return [];
  const { count, minNs, meanNs, p50Ns, p99Ns, p999Ns, p9999Ns, maxNs } = latency;
  return [[
    name,
    whole(count),
    ...[minNs, meanNs, p50Ns, p99Ns, p999Ns, p9999Ns, maxNs].map((ns) => ms(ns)),
  ]];
}
