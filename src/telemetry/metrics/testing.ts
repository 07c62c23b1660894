/** For tests: reads what Prometheus would, and complains of what it would not take. */
import assert from "node:assert/strict";
import { Exposition } from "./exposition.ts";
import type { Metric } from "./metric.ts";

export interface Family {
  readonly type: string;
  readonly help: string;
  /** By name and labels, as in the text: `x_total{a="b"}`. */
  readonly samples: Map<string, number>;
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const SAMPLE = new RegExp(
  `^(${NAME})(\\{(?:[a-zA-Z_]\\w*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*",?)+\\})? (\\S+)$`,
);

/** The families of an exposition text, by name. */
export function parseExposition(text: string): Map<string, Family> {
  assert.ok(text.endsWith("\n"));
  const families = new Map<string, Family>();
  let family: Family | undefined;
  let help = "";
  for (const line of text.split("\n")) {
    if (line === "") continue;
    if (line.startsWith("# HELP ")) {
      help = line.slice("# HELP ".length);
      continue;
    }
    const typed = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram)$`).exec(line);
    if (typed !== null) {
      const [, name, type] = typed;
      assert.ok(!families.has(name!), `${name} comes twice`);
      assert.ok(help.startsWith(`${name} `), `${name} has no help`);
      family = { type: type!, help: help.slice(name!.length + 1), samples: new Map() };
      families.set(name!, family);
      continue;
    }
    const sample = SAMPLE.exec(line);
    assert.ok(sample !== null && family !== undefined, `no sample: ${line}`);
    const key = `${sample[1]}${sample[2] ?? ""}`;
    assert.ok(!family.samples.has(key), `${key} comes twice`);
    const value = Number(sample[3]);
    assert.ok(Number.isFinite(value), line);
    family.samples.set(key, value);
  }
  return families;
}

/** What a scrape of these metrics would find, every sample of it by name and labels. */
export async function scrape(metrics: Iterable<Metric>): Promise<Map<string, number>> {
  const families = parseExposition(await new Exposition(metrics).read());
  return new Map([...families.values()].flatMap(({ samples }) => [...samples]));
}
