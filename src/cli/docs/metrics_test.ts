/** Keeps docs/metrics.md and the dashboard for Grafana true. */
import assert from "node:assert/strict";
import { VirtualClock } from "../../core/virtual_clock.ts";
import { ControllerMetrics } from "../../telemetry/metrics/controller_metrics.ts";
import { GatewayMetrics } from "../../telemetry/metrics/gateway_metrics.ts";
import type { Metric } from "../../telemetry/metrics/metric.ts";
import { networkMetrics } from "../../telemetry/metrics/network_metrics.ts";
import { WorkerMetrics } from "../../telemetry/metrics/worker_metrics.ts";
import { ownProcessMetrics } from "../metrics_server.ts";

const unread = () => assert.fail("values are not asked for");

/** All metrics by the heading of the page below which they are. */
export const allMetrics: Readonly<Record<string, readonly Metric[]>> = {
  "Every node": ownProcessMetrics(new VirtualClock(), "worker"),
  "Controller and worker": networkMetrics(unread, unread),
  "Controller": new ControllerMetrics(unread, unread).metrics(),
  "Gateway": new GatewayMetrics(unread).metrics(),
  "Worker": new WorkerMetrics(unread).metrics(),
};

const doc = await Deno.readTextFile(new URL("../../../docs/metrics.md", import.meta.url));

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

Deno.test("the dashboard for Grafana asks for nothing but metrics that there are, by labels that they have", async () => {
  const file = new URL("../../../deploy/grafana/clockwork.json", import.meta.url);
  const { panels } = JSON.parse(await Deno.readTextFile(file)) as {
    panels: { targets?: { expr: string; legendFormat: string }[] }[];
  };
  const labelsOf = new Map<string, Set<string>>();
  for (const { name, type, labels } of Object.values(allMetrics).flat()) {
    // Added by Prometheus to all.
    const all = ["instance", "job", ...labels];
    if (type === "histogram") {
      labelsOf.set(`${name}_bucket`, new Set([...all, "le"]));
      labelsOf.set(`${name}_sum`, new Set(all));
      labelsOf.set(`${name}_count`, new Set(all));
    } else labelsOf.set(name, new Set(all));
  }
  const queries = panels.flatMap(({ targets = [] }) => targets);
  assert.ok(queries.length > 30);
  for (const { expr, legendFormat } of queries) {
    const names = expr.match(/\b(?:clockwork|process)_\w+/g) ?? [];
    assert.ok(names.length > 0, expr);
    const selected = [...expr.matchAll(/(\w+)(?:=|!=|=~)"/g)].map(([, label]) => label!);
    const grouped = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(", "));
    const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label!);
    for (const name of names) {
      const labels = labelsOf.get(name);
      assert.ok(labels !== undefined, `there is no ${name}: ${expr}`);
      for (const label of [...selected, ...grouped, ...shown]) {
        assert.ok(labels.has(label), `${name} has no label ${label}: ${expr}`);
      }
    }
    // What a query does not group by is not there to be shown.
    if (grouped.length > 0) {
      for (const label of shown) assert.ok(grouped.includes(label), `${label} is lost: ${expr}`);
    }
  }
});
