/** Metrics as text for Prometheus. The only file that knows prom-client. */
import { type Metric as PromMetric, Registry } from "prom-client";
import type { Histogram, Metric } from "./metric.ts";

/** What prom-client writes a line of. */
interface Line {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  /** Where it is not that of the metric. */
  readonly metricName?: string;
}

export class Exposition {
  readonly #registry = new Registry();

  /** @throws {Error} when two metrics have the same name. */
  constructor(metrics: Iterable<Metric>) {
    for (const metric of metrics) {
      const { name, help, type } = metric;
      const collected = {
        name,
        get: () => Promise.resolve({ name, help, type, values: linesOf(metric) }),
      };
      // A registry takes whatever can tell its values; the type of it asks for one of its own counters.
      this.#registry.registerMetric(collected as unknown as PromMetric);
    }
  }

  /** Of the text that {@link read} returns. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The present values of all metrics. */
  read(): Promise<string> {
    return this.#registry.metrics();
  }
}

function linesOf(metric: Metric): Line[] {
  const labelled = (values: readonly string[]) =>
    Object.fromEntries(metric.labels.map((label, i) => [label, values[i] ?? ""]));
  if (metric.type === "histogram") {
    return Array.from(metric.read(), ([values, histogram]) => {
      return histogramLines(metric.name, labelled(values), histogram);
    }).flat();
  }
  return Array.from(metric.read(), ([values, value]) => ({ value, labels: labelled(values) }));
}

function histogramLines(
  name: string,
  labels: Record<string, string>,
  { bounds, counts, sum }: Histogram,
): Line[] {
  const lines: Line[] = [];
  let count = 0;
  counts.forEach((more, i) => {
    count += more;
    const le = bounds[i] ?? "+Inf";
    lines.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: count });
  });
  lines.push({ metricName: `${name}_sum`, labels, value: sum });
  lines.push({ metricName: `${name}_count`, labels, value: count });
  return lines;
}
