/** Keeps docs/metrics.md true. */
import assert from "node:assert/strict";
import { VirtualClock } from "../core/virtual_clock.ts";
import { ControllerMetrics } from "../telemetry/metrics/controller_metrics.ts";
import type { Metric } from "../telemetry/metrics/metric.ts";
import { networkMetrics } from "../telemetry/metrics/network_metrics.ts";
import { WorkerMetrics } from "../telemetry/metrics/worker_metrics.ts";
import { ownProcessMetrics } from "./metrics_server.ts";

const unread = () => assert.fail("values are not asked for");

/** All metrics by the heading of the page below which they are. */
export const allMetrics: Readonly<Record<string, readonly Metric[]>> = {
  "Every node": [
    ...ownProcessMetrics(new VirtualClock(), "worker"),
    ...networkMetrics(unread, unread),
  ],
  "Controller": new ControllerMetrics(unread, unread).metrics(),
  "Worker": new WorkerMetrics(unread).metrics(),
};

const doc = await Deno.readTextFile(new URL("../../docs/metrics.md", import.meta.url));

/** The rows of the tables below a heading, as cells. */
function rowsBelow(heading: string): string[][] {
  const section = doc.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  assert.ok(section !== undefined, `no section ${heading}`);
  return section.split("\n").filter((line) => line.startsWith("| `"))
    .map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()));
}

for (const [heading, metrics] of Object.entries(allMetrics)) {
  Deno.test(`docs/metrics.md lists the metrics of: ${heading}`, () => {
    assert.deepEqual(
      rowsBelow(heading),
      metrics.map(({ name, type, labels, help }) => [
        `\`${name}\``,
        type,
        labels.map((label) => `\`${label}\``).join(" "),
        help,
      ]),
    );
  });
}

Deno.test("names follow the conventions of Prometheus", () => {
  for (const { name, type } of Object.values(allMetrics).flat()) {
    assert.match(name, /^(clockwork|process)_[a-z_]+[a-z]$/);
    assert.equal(name.endsWith("_total"), type === "counter", name);
    if (type === "histogram") assert.match(name, /_(seconds|bytes|size)$/);
  }
});
