/** The files of the page, as bundled with the program. */
import uplotScript from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uplotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import reportStyle from "../../telemetry/report/page/page.css" with { type: "text" };
import plotParts from "../../telemetry/report/page/plot_parts.js" with { type: "text" };
import dashboardStyle from "./page/dashboard.css" with { type: "text" };
import page from "./page/index.html" with { type: "text" };
import main from "./page/main.js" with { type: "text" };
import rates from "./page/rates.js" with { type: "text" };
import state from "./page/state.js" with { type: "text" };
import stream from "./page/stream.js" with { type: "text" };
import tables from "./page/tables.js" with { type: "text" };
import timeline from "./page/timeline.js" with { type: "text" };

export interface PageFile {
  readonly type: string;
  readonly text: string;
}

const HTML = "text/html; charset=utf-8";
const CSS = "text/css; charset=utf-8";
const SCRIPT = "text/javascript; charset=utf-8";

/** By the path of the URL. */
export const pageFiles: ReadonlyMap<string, PageFile> = new Map([
  ["/", { type: HTML, text: page }],
  ["/dashboard", { type: HTML, text: page }],
  ["/dashboard/uplot.css", { type: CSS, text: uplotStyle }],
  ["/dashboard/page.css", { type: CSS, text: reportStyle }],
  ["/dashboard/dashboard.css", { type: CSS, text: dashboardStyle }],
  ["/dashboard/uplot.js", { type: SCRIPT, text: uplotScript }],
  ["/dashboard/plot_parts.js", { type: SCRIPT, text: plotParts }],
  ["/dashboard/main.js", { type: SCRIPT, text: main }],
  ["/dashboard/rates.js", { type: SCRIPT, text: rates }],
  ["/dashboard/state.js", { type: SCRIPT, text: state }],
  ["/dashboard/stream.js", { type: SCRIPT, text: stream }],
  ["/dashboard/tables.js", { type: SCRIPT, text: tables }],
  ["/dashboard/timeline.js", { type: SCRIPT, text: timeline }],
]);

/** Nothing but what the gateway itself serves is loaded, and no script or style that is in the page. */
export const PAGE_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; " +
  "connect-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
