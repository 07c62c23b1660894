/** `clockwork controller TYPE WORKERS [options]`. */
import { Command, InvalidArgumentError } from "commander";
import { type Clock, MS } from "../core/clock.ts";
import { SystemClock } from "../core/system_clock.ts";
import { DEFAULT_USER_POLICY } from "../controller/admission.ts";
import {
  Controller,
  type ControllerOptions,
  DEFAULT_CONTROLLER_OPTIONS,
} from "../controller/controller.ts";
import { DEFAULT_INFER4_OPTIONS, type Infer4Options } from "../scheduler/infer4/options.ts";
import { ControllerMetrics } from "../telemetry/metrics/controller_metrics.ts";
import { networkMetrics } from "../telemetry/metrics/network_metrics.ts";
import { formatAddress, listen } from "../wire/tcp.ts";
import {
  accessOf,
  type AccessOptions,
  addAccessOptions,
  asTls,
  type Credentials,
  credentialsHelp,
  readCredentials,
} from "./options/access.ts";
import {
  addControllerHttpOptions,
  type ControllerHttp,
  type ControllerHttpOptions,
  serveHttp,
} from "./gateway/controller_http.ts";
import { type ControllerLogs, openControllerLogs } from "./logs/controller_logs.ts";
import { CliError, UsageError } from "./exit.ts";
import { closeAtExit, DEFAULT_LOG_FILE_MB, DEFAULT_LOG_FILES } from "./logs/log_file.ts";
import { drained, drainOption } from "./drain.ts";
import {
  metricsOption,
  type MetricsOptions,
  type MetricsServer,
  ownProcessMetrics,
  serveMetrics,
} from "./metrics_server.ts";
import {
  addClientLimitOptions,
  type ClientLimitOptions,
  clientLimitsOf,
} from "./options/limits.ts";
import { parseInteger } from "./options/parse.ts";
import { openRegistryFile } from "./registry_file.ts";
import { printPauses, watchPauses } from "./pauses.ts";
import { CLIENT_PORT } from "./options/ports.ts";
import { schedulers, type SchedulerType } from "./schedulers.ts";
import { openTracing } from "./tracing.ts";
import { StopSignals } from "./stop_signals.ts";
import { readUsers } from "./options/users_file.ts";
import { WorkerConnections } from "./worker_connections.ts";
import { parseWorkers, type WorkerList } from "./worker_list.ts";

/** The options in the order in which they may also be given as plain arguments. */
interface Options extends AccessOptions, ClientLimitOptions, MetricsOptions, ControllerHttpOptions {
  generateInputs: boolean;
  maxGpus: number;
  scheduleAhead: number;
  defaultSlo: number;
  maxExec: number;
  maxBatch: number;
  port: number;
  host: string;
  model: string;
  copies: number;
  /** In MB, that is 10^6 bytes. */
  logFileSize: number;
  logFiles: number;
  /** In nanoseconds. */
  readonly drain: number;
  maxRequests: number;
  /** In MiB. */
  maxInputs: number;
  maxModels: number;
  users?: string;
  stateDir?: string;
  /** In MiB. */
  maxUploadSize: number;
}

const nanoseconds = parseInteger(1, Number.MAX_SAFE_INTEGER);
/** How long clients and workers that do not hang up may delay the end. */
const CLOSE_TIMEOUT_NS = 1500 * MS;

export function controllerCommand(): Command {
  const { defaultSloNs, maxExecNs, maxBatchSize, maxRequests, maxModels } =
    DEFAULT_CONTROLLER_OPTIONS;
  const { scheduleAheadNs, maxGpus } = DEFAULT_INFER4_OPTIONS;
  const command = new Command("controller")
    .description(
      "Takes clients' requests and schedules them on workers.\n\n" +
        "TYPE is the scheduler:\n" +
        schedulers.map(({ name, summary }) => `  ${name.padEnd(7)} ${summary}\n`).join("") +
        "WORKERS are, separated by commas:\n" +
        "  HOST:PORT      a worker, which must be running\n" +
        "  @FILE          those that a file lists; it is read again when it changes\n" +
        "  dns:NAME:PORT  one at each address of a name, looked up again and again\n" +
        "  join           those that connect on their own: `clockwork worker --join`\n" +
        "The options' values may also follow WORKERS as plain arguments, in the order\n" +
        "generate_inputs max_gpus schedule_ahead default_slo max_exec max_batch.",
    )
    .argument("<TYPE>", `scheduler: ${schedulers.map(({ name }) => name).join(", ")}`)
    .argument("<WORKERS>", "workers, e.g. volta01:12345,volta02:12345 or @workers.txt")
    .argument("[values...]", "values of the options below, in their order")
    .option("--generate-inputs", "generate inputs for requests that have none", false)
    .option("--max-gpus <n>", "largest number of GPUs to use", parseInteger(1, 1e6), maxGpus)
    .option(
      "--schedule-ahead <ns>",
      "send an action at most this long before the GPU is free",
      nanoseconds,
      scheduleAheadNs,
    )
    .option(
      "--default-slo <ns>",
      "deadline of requests that do not set one",
      nanoseconds,
      defaultSloNs,
    )
    .option(
      "--max-exec <ns>",
      "largest execution time; batch sizes that take longer are not used",
      nanoseconds,
      maxExecNs,
    )
    .option("--max-batch <n>", "largest batch size to use", parseInteger(1, 4096), maxBatchSize)
    .option("--model <path>", "STRESS: the model to run", "resnet50_v2")
    .option("--copies <n>", "STRESS: copies of it to load", parseInteger(1, 100_000), 100)
    .option(
      "--log-file-size <MB>",
      "start a new log file at this size",
      parseInteger(1, 1e6),
      DEFAULT_LOG_FILE_MB,
    )
    .option(
      "--log-files <n>",
      "log files to keep, per log",
      parseInteger(1, 1000),
      DEFAULT_LOG_FILES,
    )
    .addOption(drainOption())
    .option("--max-requests <n>", "unanswered requests", parseInteger(1, 1e8), maxRequests)
    .option(
      "--max-inputs <MiB>",
      "inputs of unanswered requests, all together",
      parseInteger(1, 1e9),
      DEFAULT_CONTROLLER_OPTIONS.maxInputBytes / 2 ** 20,
    )
    .option("--max-models <n>", "models, copies included", parseInteger(1, 1e6), maxModels)
    .option(
      "--state-dir <directory>",
      "remember there which models are loaded, for the next controller",
    )
    .option(
      "--max-upload-size <MiB>",
      "largest upload",
      parseInteger(0, 1e9),
      DEFAULT_CONTROLLER_OPTIONS.maxUploadBytes / 2 ** 20,
    )
    .option("--users <file>", "users' limits: weight, rate, burst and max_requests of each")
    .addOption(metricsOption())
    .option("-p, --port <port>", "port for clients", parseInteger(1, 65535), CLIENT_PORT)
    .option("--host <address>", "address to listen on for clients", "0.0.0.0")
    .addHelpText(
      "after",
      "\nEnvironment:\n" +
        "  CLOCKWORK_LOG_DIR      directory for clockwork_request_log.tsv and\n" +
        "                         clockwork_action_log.tsv (made if missing; when not set, /local if\n" +
        "                         that exists); `clockwork report DIRECTORY` shows what is in them\n" +
        "  CLOCKWORK_HTTP_TOKEN   bearer token that HTTP clients must send\n" +
        credentialsHelp(25) + "\n" +
        "\nExample:\n  clockwork controller INFER4 127.0.0.1:12345 --max-batch 16\n",
    );
  addControllerHttpOptions(command);
  return addClientLimitOptions(addAccessOptions(command))
    .action(async (type: string, workers: string, values: string[], options: Options) => {
      const scheduler = schedulers.find(({ name }) => name === type);
      if (scheduler === undefined) {
        const names = schedulers.map(({ name }) => name).join(", ");
        throw new UsageError(`unknown scheduler "${type}": the schedulers are ${names}`);
      }
      await runController(scheduler, parseWorkers(workers), {
        ...options,
        ...parseValues(values),
      });
    });
}

function parseValues(values: readonly string[]): Partial<Options> {
  const parsers: readonly (readonly [keyof Options, string, (text: string) => number])[] = [
    ["generateInputs", "generate_inputs", parseInteger(0, 1)],
    ["maxGpus", "max_gpus", parseInteger(1, 1e6)],
    ["scheduleAhead", "schedule_ahead", nanoseconds],
    ["defaultSlo", "default_slo", nanoseconds],
    ["maxExec", "max_exec", nanoseconds],
    ["maxBatch", "max_batch", parseInteger(1, 4096)],
  ];
  if (values.length > parsers.length) {
    throw new UsageError(
      `at most ${parsers.length} values may follow WORKERS: ${values.join(" ")}`,
    );
  }
  const parsed: Record<string, number | boolean> = {};
  values.forEach((text, i) => {
    const [key, name, parse] = parsers[i]!;
    try {
      const value = parse(text);
      parsed[key] = key === "generateInputs" ? value === 1 : value;
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
      throw new UsageError(`${name}: ${error.message} Got "${text}".`);
    }
  });
  return parsed;
}

async function runController(
  scheduler: SchedulerType,
  workers: WorkerList,
  options: Options,
): Promise<void> {
  const log = console.log;
  const users = options.users === undefined ? DEFAULT_USER_POLICY : readUsers(options.users);
  const credentials = readCredentials(options);
  const clock = new SystemClock();
  const stop = new StopSignals();
  let connections: WorkerConnections | null = null;
  let metricsServer: MetricsServer | null = null;
  let http: ControllerHttp | null = null;
  try {
    log("Starting Clockwork Controller");
    const controllerOptions: ControllerOptions = {
      ...DEFAULT_CONTROLLER_OPTIONS,
      defaultSloNs: options.defaultSlo,
      maxExecNs: options.maxExec,
      maxBatchSize: options.maxBatch,
      generateInputs: options.generateInputs,
      maxRequests: options.maxRequests,
      maxInputBytes: options.maxInputs * 2 ** 20,
      maxModels: options.maxModels,
      maxUploadBytes: options.maxUploadSize * 2 ** 20,
      users,
      preload: scheduler.clients ? null : { path: options.model, copies: options.copies },
    };
    const infer4: Infer4Options = {
      ...DEFAULT_INFER4_OPTIONS,
      scheduleAheadNs: options.scheduleAhead,
      maxBatchSize: options.maxBatch,
      maxGpus: options.maxGpus,
    };
    let logs: ControllerLogs | null = null;
    const closeLogs = () => logs?.close();
    closeAtExit(closeLogs);
    const pauses = watchPauses(clock);
    printPauses(clock, pauses, log);
    const metrics = options.metrics === undefined
      ? null
      : new ControllerMetrics(() => controller.view(), (id) => controller.pathOf(id));
    const tracing = await openTracing();
    const controller: Controller = new Controller(
      clock,
      log,
      controllerOptions,
      {
        onRequest: (record) => {
          logs?.requests.append(record);
          metrics?.onRequest(record);
          tracing?.onRequest(record, controller.pathOf(record.modelId));
        },
        onAction: (record) => {
          logs?.actions.append(record);
          metrics?.onAction(record);
          tracing?.onAction(record);
        },
        onSent: (sent) => metrics?.onSent(sent),
        onRejected: (status) => metrics?.onRejected(status),
      },
      (host) => scheduler.make(clock, host, infer4),
      options.stateDir === undefined ? null : openRegistryFile(options.stateDir),
    );
    let refused = 0;
    const onRefused = (peer: string, reason: string) => {
      refused++;
      console.error(`${peer} was refused: ${reason}`);
    };
    // Before the logs are opened, and so emptied: they may be those of a controller that has the port.
    const listener = listenForPeers(
      options,
      credentials,
      workers.join,
      clock,
      controller,
      onRefused,
    );
    try {
      if (options.metrics !== undefined) {
        metricsServer = await serveMetrics(options.metrics, accessOf(credentials, options), [
          ...ownProcessMetrics(clock, "controller", pauses),
          ...metrics!.metrics(),
          ...networkMetrics(() => controller.peers(), () => refused),
        ]);
      }
      http = await serveHttp(clock, log, options, controller);
      logs = openControllerLogs(clock, options.logFileSize, options.logFiles);
      printOptions(scheduler, controllerOptions, infer4);
      log(`IO service thread listening for clients on ${formatAddress(listener.address)}`);
      connections = new WorkerConnections(clock, controller.acceptWorker, stop, credentials);
      await Promise.race([connections.connectAll(workers.addresses), stop.stopped]);
      await connections.follow(workers.sources);
      if (!stop.requested) {
        controller.start();
        if (controller.workers === 0) {
          log("No worker is connected yet: models can be loaded once one has come");
        }
      }
      await stop.stopped;
    } finally {
      connections?.close();
      listener.close();
      const httpClosed = http?.close();
      controller.drain("the controller is shutting down");
      await drained(clock, options.drain, "requests", () => controller.pending);
      await httpClosed;
      controller.close("the controller is shutting down");
      await linksEnded(controller, clock);
      metricsServer?.close();
      closeLogs();
    }
  } finally {
    clock.close();
    stop.close();
  }
  // A peer that does not hang up would keep the process alive.
  Deno.exit(0);
}

/** Resolves when what was queued for clients and workers has left, or has had time enough to. */
async function linksEnded(controller: Controller, clock: Clock): Promise<void> {
  const deadlineNs = clock.now() + CLOSE_TIMEOUT_NS;
  while (controller.openLinks > 0 && clock.now() < deadlineNs) {
    await new Promise<void>((resolve) => clock.at(clock.now() + 10 * MS, resolve));
  }
}

/** Clients, and workers where they may connect on their own. */
function listenForPeers(
  options: Options,
  credentials: Credentials,
  join: boolean,
  clock: Clock,
  controller: Controller,
  onRefused: (peer: string, reason: string) => void,
) {
  try {
    return listen(
      { hostname: options.host, port: options.port },
      clock,
      {
        role: "controller",
        ...clientLimitsOf(options),
        access: accessOf(credentials, options),
        ...asTls(credentials.tls),
        peerRoles: join ? ["client", "worker"] : ["client"],
        onRefused,
      },
      (link, role) =>
        role === "worker" ? controller.acceptWorker(link) : controller.acceptClient(link),
    );
  } catch (error) {
    throw new CliError((error as Error).message);
  }
}

function printOptions(
  scheduler: SchedulerType,
  controller: ControllerOptions,
  infer4: Infer4Options,
): void {
  console.log(`${scheduler.longName} using:`);
  const values = {
    default_slo: controller.defaultSloNs,
    latest_delta: infer4.latestDeltaNs,
    schedule_ahead: infer4.scheduleAheadNs,
    max_allowable_exec_time: controller.maxExecNs,
    max_batch_size: infer4.maxBatchSize,
    generate_inputs: controller.generateInputs ? 1 : 0,
    max_gpus: infer4.maxGpus,
  };
  for (const [name, value] of Object.entries(values)) console.log(`         ${name}=${value}`);
}
