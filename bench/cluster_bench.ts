/**
 * Measures whole clusters of real processes with emulated GPUs on this machine, and prints the results next
 * to what is attainable.
 *
 *     deno task bench:cluster [--only NAME]… [--duration SECONDS] [--verbose] [--v8-flags FLAGS]
 */
import { Command, InvalidArgumentError, Option } from "commander";
import { loadavg } from "node:os";
import { type BenchOptions, type Outcome, runLoad, runScenario } from "./cluster/run.ts";
import { LOAD, ORIGINAL, type Scenario, scenarios } from "./cluster/scenarios.ts";
import { show } from "../src/cli/demo/processes.ts";
import { parseInteger } from "../src/cli/options/parse.ts";

const HEADER = [
  "workload",
  "GPUs",
  "good",
  "of requests",
  "limit",
  "target",
  "original",
  "p50 ms",
  "p99 ms",
  "controller µs/request",
];

function row({ name, workload, gpus, unit, limit, target, original }: Scenario, one: Outcome) {
  const share = 100 * one.good / one.requests;
  const good = unit === "%" ? `${share.toFixed(2)} %` : `${(one.good / one.durationS).toFixed(0)}`;
  return [
    `${name}: ${workload.join(" ")}`,
    gpus.join(" + "),
    good,
    `${share.toFixed(3)} %`,
    unit === "%" ? `${limit} %` : `${limit}`,
    target,
    original,
    one.p50Ms.toFixed(2),
    one.p99Ms.toFixed(2),
    one.controllerCpuUs === null ? "-" : one.controllerCpuUs.toFixed(0),
  ];
}

function table(rows: readonly (readonly string[])[]): string {
  const all = [HEADER, ...rows];
  const widths = HEADER.map((_, i) => Math.max(...all.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [line(HEADER), rule, ...rows.map(line)].join("\n");
}

interface Options {
  readonly only?: string[];
  readonly duration: number;
  readonly verbose?: true;
  readonly v8Flags?: string;
}

async function bench({ only, duration, verbose, v8Flags }: Options): Promise<void> {
  const options: BenchOptions = {
    durationS: duration,
    show: verbose ? show : () => {},
    v8Flags: v8Flags?.split(",") ?? [],
  };
  const wanted = (name: string) => only === undefined || only.includes(name);
  const cores = navigator.hardwareConcurrency;
  console.log(
    `${cores} cores, ${loadavg()[0]!.toFixed(2)} of them busy in the last minute; ` +
      `${duration} s a workload; good: answered within 100 ms, per second or as a share\n`,
  );
  const rows: string[][] = [];
  for (const scenario of scenarios.filter(({ name }) => wanted(name))) {
    const outcome = await runScenario(scenario, options);
    rows.push(row(scenario, outcome));
    console.error(`${scenario.name}: ${rows.at(-1)!.slice(2, 4).join(", ")} good`);
    if (outcome.pauses !== null) console.error(`  controller: ${outcome.pauses}`);
  }
  if (rows.length > 0) console.log(`${table(rows)}\n\n${ORIGINAL}`);
  if (wanted(LOAD.name)) {
    const { models, seconds } = await runLoad(options);
    console.log(
      `\n${LOAD.name}: ${models} models on ${LOAD.gpus.length} workers in ${
        seconds.toFixed(2)
      } s ` +
        `(target: under ${LOAD.targetS} s)`,
    );
  }
}

const names = [...scenarios.map(({ name }) => name), LOAD.name];
await new Command("bench:cluster")
  .description("Measures clusters of real processes with emulated GPUs.")
  .addOption(
    new Option("--only <name>", `only one of ${names.join(", ")} (repeatable)`)
      .argParser((text: string, earlier: string[] | undefined) => {
        if (!names.includes(text)) {
          throw new InvalidArgumentError(`Expected one of ${names.join(", ")}.`);
        }
        return [...(earlier ?? []), text];
      }),
  )
  .option("--duration <seconds>", "how long each workload runs", parseInteger(1, 86_400), 20)
  .option("--verbose", "show what the processes print")
  .option("--v8-flags <flags>", "flags of V8 for all processes, separated by commas")
  .action(bench)
  .parseAsync(Deno.args, { from: "user" });
Deno.exit(0);
