/** `clockwork simulate TYPE [options] -- WORKLOAD [parameters]`. */
import { Command, InvalidArgumentError, Option } from "commander";
import { SECOND, US } from "../core/clock.ts";
import { DEFAULT_CONTROLLER_OPTIONS } from "../controller/controller.ts";
import { ModelDir } from "../client/model_dir.ts";
import { ParameterError } from "../client/workloads/parameters.ts";
import { findWorkload } from "../client/workloads/registry.ts";
import { DEFAULT_INFER4_OPTIONS } from "../scheduler/infer4/options.ts";
import { type Fault, FAULT_KINDS, parseFault, randomFaults } from "../simulator/faults.ts";
import { STEADY_GPU } from "../simulator/gpu_model.ts";
import { violations } from "../simulator/invariants.ts";
import { Simulation, type SimulationOptions } from "../simulator/simulation.ts";
import { actionColumns, requestColumns } from "../telemetry/records.ts";
import { TsvLog } from "../telemetry/tsv_log.ts";
import { Random } from "../core/random.ts";
import { DEFAULT_WORKER_CONFIG } from "../worker/config.ts";
import { ModelDirs } from "../worker/model_dirs.ts";
import { modelReader } from "../worker/emulated/model.ts";
import { intervalLine, summaryJson, summaryLines } from "./client_output.ts";
import { CliError, UsageError } from "./exit.ts";
import { ACTION_LOG, claimLogs, openLog, REQUEST_LOG } from "./logs/log_file.ts";
import { parseDuration, parseInteger } from "./options/parse.ts";
import { schedulers } from "./schedulers.ts";
import { modelDir } from "./serve_worker.ts";

interface Options {
  workers: number;
  gpus: number;
  clients: number;
  duration: number;
  interval?: number;
  seed: number;
  latency: number;
  jitter: number;
  bandwidth: number;
  noise: number;
  stallEvery?: number;
  slowClock: number;
  clockOffset: number;
  clockDrift: number;
  fault: Fault[];
  faults: number;
  maxBatch: number;
  defaultSlo: number;
  pages?: number;
  registry: boolean;
  inputs: boolean;
  uploads: boolean;
  logDir?: string;
  verbose: boolean;
  json: boolean;
}

/** Logs of simulations begin at this moment, so that the same simulation writes the same bytes. */
const EPOCH_NS = 1_600_000_000_000_000_000n;
/** Which model's sizes and times uploaded ones have. */
const UPLOADS_LIKE = "resnet50_v2";
/** Virtual time between two looks at whether to print something. */
const SLICE_NS = SECOND;
/** After the workloads' end: the answers that are still to come. */
const DRAIN_NS = 6 * SECOND;

const fraction = (text: string): number => {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= 10)) {
    throw new InvalidArgumentError("Expected a number from 0 to 10.");
  }
  return value;
};

/** Schedulers that serve clients. */
const simulated = schedulers.filter(({ clients }) => clients);

export function simulateCommand(): Command {
  return new Command("simulate")
    .description(
      "Runs a whole cluster in one process and in virtual time: the same code, but faster, " +
        "and the same run each time. TYPE is the scheduler, as for `controller`; the " +
        "workload and its parameters, as for `client`, follow after --.",
    )
    .argument("<TYPE>", `scheduler: ${simulated.map(({ name }) => name).join(", ")}`)
    .argument("<workload...>", "a workload and its parameters")
    .option("--workers <n>", "workers", parseInteger(1, 10_000), 1)
    .option("--gpus <n>", "GPUs of each worker", parseInteger(1, 4096), 2)
    .option("--clients <n>", "clients, each with the whole workload", parseInteger(1, 10_000), 1)
    .addOption(
      new Option("--duration <time>", "virtual time to simulate, e.g. 1h")
        .argParser(parseDuration).default(60 * SECOND, "60s"),
    )
    .option("--interval <time>", "virtual time from one line to the next", parseDuration)
    .option("--seed <n>", "seed of everything random", parseInteger(0, 0xffff_ffff), 1)
    .option("--latency <us>", "one-way latency, in µs", parseInteger(0, 1e7), 50)
    .option(
      "--jitter <us>",
      "further latency of each message, up to so many µs",
      parseInteger(0, 1e7),
      0,
    )
    .option(
      "--bandwidth <bytes>",
      "bytes per second to and from each node",
      parseInteger(1, 1e12),
      1.25e9,
    )
    .option("--noise <fraction>", "executions take up to this fraction longer", fraction, 0)
    .option("--stall-every <n>", "a GPU stalls for 2 ms once in n executions", parseInteger(1, 1e9))
    .option(
      "--slow-clock <fraction>",
      "GPUs run at this speed for ten seconds now and then",
      fraction,
      1,
    )
    .option(
      "--clock-offset <s>",
      "nodes' clocks differ by up to so many seconds",
      parseInteger(0, 1e6),
      0,
    )
    .option(
      "--clock-drift <ppm>",
      "nodes' clocks run fast or slow by so much",
      parseInteger(0, 1000),
      0,
    )
    .addOption(
      new Option("--fault <what>", "KIND@SECONDS:MILLISECONDS[:TARGET], repeatable")
        .argParser(parseFaults).default([], "none"),
    )
    .option("--faults <n>", "number of faults chosen by the seed", parseInteger(0, 100_000), 0)
    .option("--max-batch <n>", "largest batch size to use", parseInteger(1, 4096), 8)
    .option(
      "--default-slo <ns>",
      "deadline of requests that do not set one",
      parseInteger(1, Number.MAX_SAFE_INTEGER),
      DEFAULT_CONTROLLER_OPTIONS.defaultSloNs,
    )
    .option("--pages <n>", "pages of each GPU's weights cache", parseInteger(1, 1e9))
    .option("--inputs", "send inputs, whose bytes take time on the network", false)
    .option(
      "--uploads",
      "the first client also uploads models, and loads, serves, unloads and removes them",
      false,
    )
    .option("--registry", "controllers keep their models for the one after them", false)
    .option("--log-dir <directory>", "write the controller's logs there")
    .option("--verbose", "print what every node prints", false)
    .option("--json", "print the result as JSON", false)
    .addHelpText("after", help())
    .action(simulate);
}

function help(): string {
  const kinds = Object.entries(FAULT_KINDS).map(([kind, what]) => `  ${kind.padEnd(20)}${what}`);
  return `\nFaults:\n${kinds.join("\n")}\n` +
    "\nExamples:\n" +
    "  clockwork simulate INFER4 --workers 6 --gpus 2 --duration 1h --seed 7 -- azure 6\n" +
    "  clockwork simulate INFER4 --fault worker-crash@10:500:0 -- poisson-open-loop 10 200\n";
}

function parseFaults(text: string, faults: Fault[]): Fault[] {
  try {
    return [...faults, parseFault(text)];
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function simulate(type: string, workload: readonly string[], options: Options): void {
  const directory = modelDir();
  const setup = prepare(type, workload, options, directory);
  const startMs = performance.now();
  // Only now: what is wrong with the command line must not cost the logs that are there.
  const logs = openLogs(options);
  const simulation = new Simulation({
    ...setup,
    readModel: modelReader(ModelDirs.only(directory)),
    telemetry: {
      onRequest: (record) => logs?.requests.append(record),
      onAction: (record) => logs?.actions.append(record),
    },
    log: (node, line) => {
      if (options.verbose) console.log(`${node.padEnd(10)} | ${line}`);
    },
  });
  const { clock } = simulation;
  const say = options.json ? console.error : console.log;
  const intervalNs = options.interval ?? Math.max(SECOND, options.duration / 10);
  let nextLineNs = intervalNs;
  while (clock.now() < options.duration) {
    clock.run(Math.min(options.duration, clock.now() + SLICE_NS));
    if (clock.now() < nextLineNs) continue;
    nextLineNs += intervalNs;
    for (const { run, name, clock: own } of simulation.clients) {
      if (run === null) continue;
      const line = intervalLine(run.statistics.takeInterval(own.now()));
      say(simulation.clients.length > 1 ? `${name}: ${line}` : line);
    }
  }
  simulation.stop();
  clock.run(options.duration + DRAIN_NS);
  logs?.close();
  const elapsedSeconds = (performance.now() - startMs) / 1000;
  for (const { run, client, endedNs } of simulation.runs) {
    const summary = run.statistics.summary(endedNs ?? run.clock.now());
    if (options.json) console.log(summaryJson(summary, client));
    else for (const line of summaryLines(summary)) console.log(line);
  }
  const { served } = simulation.uploads;
  if (options.uploads) say(`Uploaded, loaded, served and unloaded ${served} models`);
  const speed = options.duration / SECOND / elapsedSeconds;
  say(
    `Simulated ${options.duration / SECOND} s in ${elapsedSeconds.toFixed(1)} s, ` +
      `${speed.toFixed(speed < 10 ? 1 : 0)} times the speed of real time`,
  );
  const found = violations(simulation);
  if (found.length > 0) throw new CliError(`what must hold did not: ${found.join("; ")}`);
}

function prepare(
  type: string,
  [workloadName, ...parameters]: readonly string[],
  options: Options,
  directory: string,
): Omit<SimulationOptions, "readModel" | "telemetry" | "log"> {
  const scheduler = simulated.find(({ name }) => name === type);
  if (scheduler === undefined) {
    const names = simulated.map(({ name }) => name).join(", ");
    throw new UsageError(`unknown scheduler "${type}": those that can be simulated are ${names}`);
  }
  const pageBytes = DEFAULT_WORKER_CONFIG.weights_cache_page_size;
  const infer4 = {
    ...DEFAULT_INFER4_OPTIONS,
    maxBatchSize: options.maxBatch,
    maxGpus: Math.max(DEFAULT_INFER4_OPTIONS.maxGpus, options.workers * options.gpus),
  };
  // A simulated second longer than the faults last, so that all have an end.
  const faults = [
    ...options.fault,
    ...randomFaults(
      new Random(options.seed ^ 0x5eed),
      options.faults,
      Math.min(3 * SECOND, options.duration),
      options.duration,
      Object.keys(FAULT_KINDS) as (keyof typeof FAULT_KINDS)[],
    ),
  ];
  const zoo = orUsageError(() => ModelDir.read(directory));
  const makePlan = planMaker(workloadName!, parameters, zoo);
  return {
    seed: options.seed,
    workers: options.workers,
    gpusPerWorker: options.gpus,
    clients: options.clients,
    network: {
      latencyNs: options.latency * US,
      jitterNs: options.jitter * US,
      bytesPerSecond: options.bandwidth,
    },
    gpu: {
      noise: options.noise,
      stallEvery: options.stallEvery ?? Infinity,
      stallNs: STEADY_GPU.stallNs,
      slowClock: options.slowClock === 0 ? 1 : options.slowClock,
    },
    clockOffsetNs: options.clockOffset * SECOND,
    clockDriftPpm: options.clockDrift,
    controller: {
      ...DEFAULT_CONTROLLER_OPTIONS,
      maxBatchSize: options.maxBatch,
      defaultSloNs: options.defaultSlo,
    },
    registry: options.registry,
    workerConfig: options.pages === undefined ? DEFAULT_WORKER_CONFIG : {
      ...DEFAULT_WORKER_CONFIG,
      weights_cache_size: options.pages * pageBytes,
    },
    makeScheduler: (clock, host) => scheduler.make(clock, host, infer4),
    makePlan,
    pathOf: (model) => zoo.pathOf(model),
    inputs: options.inputs,
    ...(options.uploads ? { uploadsLike: zoo.pathOf(UPLOADS_LIKE) } : {}),
    faults,
  };
}

/** Whatever is wrong there, the user has to change the command line or the environment. */
function orUsageError<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Checks the workload's parameters now, and makes a new plan for each client. */
function planMaker(name: string, parameters: readonly string[], zoo: ModelDir) {
  const surroundings = {
    zoo: zoo.names,
    azureTraceDir: Deno.env.get("AZURE_TRACE_DIR") || null,
  };
  const workload = orUsageError(() => findWorkload(name));
  try {
    for (const { model } of workload.plan(parameters, surroundings).uses) zoo.pathOf(model);
    return () => workload.plan(parameters, surroundings);
  } catch (error) {
    if (error instanceof ParameterError) {
      throw new UsageError(`workload \`${name}\`: ${error.message}`);
    }
    throw new UsageError((error as Error).message);
  }
}

function openLogs(options: Options) {
  const directory = options.logDir ?? (Deno.env.get("CLOCKWORK_LOG_DIR") || undefined);
  if (directory === undefined) return null;
  const epochNs = (ns: number) => (EPOCH_NS + BigInt(Math.round(ns))).toString();
  const requestsOf = requestColumns(epochNs);
  const actionsOf = actionColumns(epochNs);
  const remedy = options.logDir === undefined ? undefined : "name another one with --log-dir";
  const release = claimLogs(
    directory,
    { [REQUEST_LOG]: requestsOf, [ACTION_LOG]: actionsOf },
    remedy,
  );
  // Flushed by size alone: a timer would be one more thing in the simulation's time.
  const still = { now: () => 0, at: () => ({ cancel: () => {} }) };
  const requests = new TsvLog(still, openLog(`${directory}/${REQUEST_LOG}`, 1, remedy), requestsOf);
  const actions = new TsvLog(still, openLog(`${directory}/${ACTION_LOG}`, 1, remedy), actionsOf);
  return {
    requests,
    actions,
    close: () => {
      requests.close();
      actions.close();
      release();
    },
  };
}
