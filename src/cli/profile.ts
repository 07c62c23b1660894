/** `clockwork profile [check]`: whether this machine is suitable for Clockwork, and how fast it is. */
import { Argument, Command } from "commander";
import config from "../../deno.json" with { type: "json" };
import { SystemClock } from "../core/system_clock.ts";
import { CLIENT_PORT, HTTP_PORT, WORKER_PORT } from "./options/ports.ts";
import { CliError } from "./exit.ts";
import { credentialsHelp } from "./options/access.ts";
import { parseInteger } from "./options/parse.ts";
import { benchmark } from "./profile/benchmark.ts";
import type { Check } from "./profile/check.ts";
import { clusterChecks } from "./profile/cluster_checks.ts";
import { gpuChecks } from "./profile/gpu_checks.ts";
import { thisMachine } from "./profile/machine.ts";
import { describeChecks, describeFigures } from "./profile/print.ts";
import { systemChecks } from "./profile/system_checks.ts";
import { timingChecks } from "./profile/timing_checks.ts";
import { StopSignals } from "./stop_signals.ts";
import { modelDir } from "./serve_worker.ts";

interface Options {
  readonly port?: number[];
  readonly json: boolean;
}

const parsePort = parseInteger(1, 65535);
const PORTS = [WORKER_PORT, CLIENT_PORT, HTTP_PORT];

export function profileCommand(): Command {
  return new Command("profile")
    .description(
      "Checks whether this machine is suitable for Clockwork, and how to fix what is " +
        "not. Without `check` it also measures how fast it is.",
    )
    .addArgument(new Argument("[check]", "only check").choices(["check"]))
    .option(
      "-p, --port <port>",
      `a port that should be free (repeatable; default: ${PORTS.join(", ")})`,
      (text: string, earlier: number[] | undefined) => [...(earlier ?? []), parsePort(text)],
    )
    .option("--json", "print the results as JSON", false)
    .addHelpText(
      "after",
      "\nEnvironment, which is checked as nodes would use it:\n" +
        "  CLOCKWORK_MODEL_DIR    directory of models, one folder each\n" +
        "  CLOCKWORK_CONFIG_FILE  a worker's configuration\n" +
        "  CLOCKWORK_LOG_DIR      directory for the controller's logs\n" +
        credentialsHelp(25) + "\n\n" +
        "Exit code 1 if something is missing that nodes need.",
    )
    .action((what: string | undefined, options: Options) => run(what === undefined, options));
}

async function run(measure: boolean, { port, json }: Options): Promise<void> {
  const clock = new SystemClock();
  const stop = new StopSignals();
  stop.stopped.then(() => Deno.exit(130));
  try {
    const machine = thisMachine();
    const checks: readonly Check[] = [
      ...systemChecks(machine),
      // Before the GPUs are opened, which keeps the machine busy.
      ...await timingChecks(clock),
      ...clusterChecks(machine, modelDir(), port ?? PORTS),
      ...await gpuChecks(clock, modelDir()),
    ];
    if (!json) {
      const colour = Deno.stdout.isTerminal() && !Deno.noColor;
      const { os, arch } = Deno.build;
      const { deno, v8 } = Deno.version;
      console.log(`Clockwork ${config.version}, Deno ${deno}, V8 ${v8}, ${os} ${arch}\n`);
      console.log(describeChecks(checks, colour).join("\n"));
    }
    const figures = measure ? await benchmark(clock) : [];
    if (json) {
      const { build: { os, arch }, version } = Deno;
      const clockwork = config.version;
      console.log(JSON.stringify({ clockwork, ...version, os, arch, checks, figures }, null, 2));
    } else if (measure) console.log(describeFigures(figures).join("\n"));
    const failed = checks.filter(({ level }) => level === "failed");
    if (failed.length > 0) {
      throw new CliError(`not fit: ${failed.map(({ name }) => name).join(", ")}`);
    }
  } finally {
    clock.close();
    stop.close();
  }
}
