/** `clockwork client`: runs a workload against a controller and prints what it measures. */
import { Command, Option } from "commander";
import { fileURLToPath } from "node:url";
import { SECOND } from "../core/clock.ts";
import { SystemClock } from "../core/system_clock.ts";
import { type Address, formatAddress, parseAddress } from "../wire/tcp.ts";
import { DEFAULT_MAX_OUTSTANDING } from "../client/client.ts";
import { DEFAULT_RECONNECT_NS } from "../client/connect.ts";
import { ModelDir } from "../client/model_dir.ts";
import { ParameterError, usage } from "../client/workloads/parameters.ts";
import { findWorkload, workloads } from "../client/workloads/registry.ts";
import type { Plan, Workload } from "../client/workloads/workload.ts";
import { runSession } from "./client_session.ts";
import {
  addCredentialOptions,
  type CredentialOptions,
  credentialsHelp,
  readCredentials,
} from "./options/access.ts";
import { UsageError } from "./exit.ts";
import { parseDuration, parseInteger } from "./options/parse.ts";
import { CLIENT_PORT } from "./options/ports.ts";
import { StopSignals } from "./stop_signals.ts";

/** Columns that the help of workloads takes. */
const HELP_WIDTH = 96;

interface Options extends CredentialOptions {
  readonly duration?: number;
  readonly interval: number;
  readonly wait: number;
  /** Nanoseconds; false: not at all. */
  readonly reconnect: number | false;
  readonly slo?: number;
  readonly seed: number;
  readonly user: number;
  readonly maxOutstanding: number;
  readonly json: boolean;
}

export function clientCommand(): Command {
  const command = new Command("client")
    .description("Runs a workload against a controller and prints what it measures.")
    .argument("<address>", `the controller, HOST[:PORT]; the port is ${CLIENT_PORT} by default`)
    .argument("<workload>", "the name of a workload, see below")
    .argument("[parameters...]", "the workload's parameters, in order")
    .option(
      "--duration <time>",
      "end after this time, e.g. 20s, instead of on Ctrl-C",
      parseDuration,
    )
    .addOption(
      timeOption("--interval <time>", "time between lines of measurements", 10),
    )
    .addOption(timeOption("--wait <time>", "how long to try to connect", 5))
    .addOption(
      timeOption(
        "--reconnect <time>",
        "how long to try to reconnect when the connection is lost",
        DEFAULT_RECONNECT_NS / SECOND,
      ),
    )
    .option("--no-reconnect", "end when the connection is lost")
    .option(
      "--slo <time>",
      "time allowed for requests unless the workload sets it, e.g. 100ms, instead of the " +
        "controller's default",
      parseDuration,
    )
    .option("--seed <n>", "seed of inputs and arrivals", parseInteger(0, 0xffff_ffff), 1)
    .addOption(
      new Option(
        "--max-outstanding <n>",
        "drop requests of open loops while this many are unanswered",
      )
        .argParser(parseInteger(1, 1_000_000)).default(DEFAULT_MAX_OUTSTANDING),
    )
    .option(
      "--user <n>",
      "number of the user to whom requests are attributed",
      parseInteger(0, 0xffff_ffff),
      0,
    )
    .option("--json", "print measurements as lines of JSON, and everything else to stderr", false)
    .addHelpText("after", help());
  return addCredentialOptions(command).action(runClient);
}

function timeOption(flags: string, description: string, seconds: number): Option {
  return new Option(flags, description)
    .argParser(parseDuration).default(seconds * SECOND, `${seconds}s`);
}

function help(): string {
  const lines = ["", "Workloads:"];
  for (const { name, summary, parameters, example } of workloads) {
    lines.push(`  ${name} ${usage(parameters)}`.trimEnd(), ...wrapped(`      ${summary}`));
    for (const [parameter, { description }] of Object.entries(parameters)) {
      lines.push(...wrapped(`      ${parameter}: ${description}`));
    }
    lines.push(`      e.g. clockwork client 127.0.0.1 ${[name, ...example].join(" ")}`);
  }
  lines.push(
    "",
    "Environment:",
    "  CLOCKWORK_MODEL_DIR         directory in which models are found by name, one folder each",
    "  CLOCKWORK_DISABLE_INPUTS=1  send no inputs with requests; the workers make them",
    credentialsHelp(30),
    "  AZURE_TRACE_DIR             directory of the Azure trace, for the azure workloads",
  );
  return lines.join("\n");
}

/** Breaks a line between words so that it fits a terminal; what follows is indented as the line is. */
function wrapped(line: string): string[] {
  const indent = line.slice(0, line.search(/\S/));
  const lines: string[] = [];
  let current = indent;
  for (const word of line.trim().split(" ")) {
    if (current !== indent && current.length + 1 + word.length > HELP_WIDTH) {
      lines.push(current);
      current = indent;
    }
    current += current === indent ? word : ` ${word}`;
  }
  return [...lines, current];
}

async function runClient(
  addressText: string,
  workloadName: string,
  parameters: readonly string[],
  options: Options,
): Promise<void> {
  // Whatever is wrong with the command line is found before anything is connected.
  const { address, modelDir, plan } = prepare(addressText, workloadName, parameters);
  const credentials = readCredentials(options);
  const say = options.json ? console.error : console.log;
  const sendInputs = Deno.env.get("CLOCKWORK_DISABLE_INPUTS") !== "1";
  say(`Running workload \`${workloadName}\` on ${formatAddress(address)}`);
  say(
    sendInputs
      ? "Client is sending inputs with requests.  " +
        "Set CLOCKWORK_DISABLE_INPUTS=1 to disable inputs."
      : "Client is not sending inputs with requests.  " +
        "Unset CLOCKWORK_DISABLE_INPUTS to send inputs.",
  );
  const clock = new SystemClock();
  const stop = new StopSignals();
  try {
    const session = {
      address,
      credentials,
      plan,
      modelDir,
      durationNs: options.duration ?? Infinity,
      intervalNs: options.interval,
      waitNs: options.wait,
      reconnectNs: options.reconnect || 0,
      seed: options.seed,
      userId: options.user,
      sloNs: options.slo,
      maxOutstanding: options.maxOutstanding,
      sendInputs,
      json: options.json,
      print: console.log,
      say,
    };
    await runSession(session, clock, stop);
  } finally {
    stop.close();
    clock.close();
  }
  // An attempt to connect that a signal interrupted would keep the process alive.
  if (stop.requested) Deno.exit(0);
}

interface Prepared {
  readonly address: Address;
  readonly modelDir: ModelDir;
  readonly plan: Plan;
}

function prepare(
  addressText: string,
  workloadName: string,
  parameters: readonly string[],
): Prepared {
  try {
    const address = parseAddress(addressText, CLIENT_PORT);
    const workload = findWorkload(workloadName);
    const modelDir = ModelDir.read(Deno.env.get("CLOCKWORK_MODEL_DIR") || defaultModelDir());
    const plan = makePlan(workload, parameters, modelDir);
    for (const { model } of plan.uses) modelDir.pathOf(model);
    return { address, modelDir, plan };
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function makePlan(workload: Workload, parameters: readonly string[], modelDir: ModelDir): Plan {
  try {
    return workload.plan(parameters, {
      zoo: modelDir.names,
      azureTraceDir: Deno.env.get("AZURE_TRACE_DIR") || null,
    });
  } catch (error) {
    if (!(error instanceof ParameterError)) throw error;
    throw new UsageError(`workload \`${workload.name}\`: ${error.message}`);
  }
}

/** The profiles that come with Clockwork: they serve the emulated worker. */
function defaultModelDir(): string {
  return fileURLToPath(new URL("../../config/modelzoo", import.meta.url));
}
