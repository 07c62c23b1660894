/** The report as a self-contained HTML page, including data, styles, scripts and uPlot. */
import uplotLicense from "uplot/LICENSE" with { type: "text" };
import uplotScript from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uplotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import chartsScript from "./page/charts.js" with { type: "text" };
import plotParts from "./page/plot_parts.js" with { type: "text" };
import pageStyle from "./page/page.css" with { type: "text" };
import timelineScript from "./page/timeline.js" with { type: "text" };
import { escapeHtml, tables } from "./page_tables.ts";
import { makePlots } from "./plots.ts";
import type { LogStats, Report } from "./report.ts";

export function makePage(report: Report, stats: LogStats): string {
  const title = report.begin === null ? "Clockwork report" : `Clockwork report, ${report.begin}`;
  const { summary, details } = tables(report);
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>
${uplotStyle}
${pageStyle}
</style>
</head>
<body>
<header><h1>Clockwork report</h1><p>${
    escapeHtml(report.begin ?? "no requests, no actions")
  }</p></header>
<main>
${summary}
<section><h2>Latency of results</h2>
<p>How many results took at most so long. Each line up is a tenth of those that are left.</p>
<div class="plot" id="latency"></div></section>
<section><h2>Load over time</h2>
<p>Requests per second: those that came, and those that were answered in time or not.</p>
<div class="plot" id="rates"></div></section>
<section><h2>Prediction error</h2>
<p>How many actions were predicted as exactly as this, or better; too long and too short alike.</p>
<div class="plot" id="prediction"></div></section>
<section><h2>GPUs over time</h2>
<p>Inferences above, weight loads below. Drag, pinch or use the buttons to zoom in until single
actions are seen; point at one to read what it was. <span id="timeline-note"></span></p>
<div class="tools" id="timeline-tools"></div>
<div class="plot" id="timeline"></div>
<p class="told" id="timeline-told" aria-live="polite"></p></section>
${details}
</main>
<footer>Plots: uPlot, © Leon Sorokin, under the MIT licence, which is in this page's source.</footer>
<script type="application/json" id="data">${
    JSON.stringify(makePlots(stats)).replaceAll("<", "\\u003c")
  }</script>
<script>
/*
${uplotLicense.trim()}
*/
${uplotScript}
</script>
<script>
${plotParts}
</script>
<script>
${chartsScript}
</script>
<script>
${timelineScript}
</script>
</body>
</html>
`;
}
