/** The common part of the real and the emulated worker: configuration, listening, shutdown. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Clock } from "../core/clock.ts";
import { MS } from "../core/clock.ts";
import { SystemClock } from "../core/system_clock.ts";
import { networkMetrics } from "../telemetry/metrics/network_metrics.ts";
import { WorkerMetrics } from "../telemetry/metrics/worker_metrics.ts";
import type { WorkerTelemetry } from "../telemetry/worker_records.ts";
import type { Backend } from "../worker/backend.ts";
import { ConfigError, readWorkerConfig, type WorkerConfig } from "../worker/config.ts";
import { ModelDirs } from "../worker/model_dirs.ts";
import { WorkerServer } from "../worker/server.ts";
import type { Accept } from "../wire/link.ts";
import { type Address, formatAddress, listen, type Listener, parseAddress } from "../wire/tcp.ts";
import {
  accessOf,
  type AccessOptions,
  addAccessOptions,
  asTls,
  type Credentials,
  credentialsHelp,
  readCredentials,
} from "./options/access.ts";
import { CliError, UsageError } from "./exit.ts";
import { drained, drainOption } from "./drain.ts";
import {
  metricsOption,
  type MetricsOptions,
  ownProcessMetrics,
  serveMetrics,
} from "./metrics_server.ts";
import { joinController } from "./join_controller.ts";
import { addLimitOptions, type LimitOptions, limitsOf } from "./options/limits.ts";
import { parseInteger } from "./options/parse.ts";
import { CLIENT_PORT, WORKER_PORT } from "./options/ports.ts";
import { StopSignals } from "./stop_signals.ts";
import { openUploads, type UploadOptions, uploadOptions } from "./options/uploads.ts";
import { openWorkerLogs } from "./logs/worker_logs.ts";

/** How long controllers that do not read may delay the end. */
const CLOSE_TIMEOUT_NS = 1500 * MS;

/** The options that both workers have. */
export interface ServeOptions extends AccessOptions, LimitOptions, MetricsOptions, UploadOptions {
  readonly config?: string;
  readonly port: number;
  readonly host: string;
  readonly join?: Address;
  readonly modelDir?: readonly string[];
  /** In nanoseconds. */
  readonly drain: number;
}

/** What the user has configured. */
export interface WorkerSetup {
  readonly config: WorkerConfig;
  /** Keys that a file of the user's own sets: these are decisions, where the rest are defaults. */
  readonly chosen: ReadonlySet<keyof WorkerConfig>;
}

/** Adds the options that both workers have. */
export function addServeOptions(command: Command): Command {
  command
    .option("-c, --config <file>", "configuration file, instead of config/default.cfg")
    .addOption(
      new Option("-p, --port <port>", "port to listen on for controllers")
        .argParser(parseInteger(1, 65535)).default(WORKER_PORT),
    )
    .option("--host <address>", "address to listen on", "0.0.0.0")
    .option(
      "--join <address>",
      "connect to a controller, HOST[:PORT], whose WORKERS have `join`, instead of listening",
      parseController,
    )
    .addOption(
      new Option(
        "--model-dir <directory>",
        "directory with models; nothing else is read; repeatable (default: CLOCKWORK_MODEL_DIR)",
      ).argParser((directory: string, before: string[] | undefined) => [
        ...before ?? [],
        directory,
      ]),
    )
    .addOption(metricsOption())
    .addOption(drainOption());
  for (const option of uploadOptions()) command.addOption(option);
  return addLimitOptions(addAccessOptions(command));
}

function parseController(text: string): Address {
  try {
    return parseAddress(text, CLIENT_PORT);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** Told in the help of both workers. */
export const ENVIRONMENT_HELP = `
Environment:
  CLOCKWORK_MODEL_DIR    directory in which models are found by name, one folder each, unless
                         --model-dir names others; a worker reads models nowhere else
  CLOCKWORK_CONFIG_FILE  configuration, unless -c names one
${credentialsHelp(25)}`;

/**
 * Where a worker finds models, and all that it may read.
 *
 * @throws {CliError} when there is no such directory.
 */
export function modelDirs(options: ServeOptions): ModelDirs {
  const { modelDir: named } = options;
  const dirs = ModelDirs.only(...named ?? [modelDir()]);
  for (const dir of dirs.dirs) {
    if (isDirectory(dir)) continue;
    const how = named === undefined ? "CLOCKWORK_MODEL_DIR" : "--model-dir";
    throw new CliError(`the model directory ${dir} does not exist: make it, or change ${how}`);
  }
  const uploads = uploadsIn(options);
  return uploads === null ? dirs : dirs.withUploads(uploads);
}

/** Where uploads go; null when none are taken. They are not put among the models that come with Clockwork. */
function uploadsIn(options: ServeOptions): string | null {
  if (options.maxUploadsSize === 0) return null;
  const named = options.modelDir?.[0] ?? (Deno.env.get("CLOCKWORK_MODEL_DIR") || undefined);
  return options.uploadDir ?? (named === undefined ? null : join(named, "uploads"));
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** The user's model directory: by default, that of the profiles that come with Clockwork. */
export function modelDir(): string {
  return Deno.env.get("CLOCKWORK_MODEL_DIR") ||
    fileURLToPath(new URL("../../config/modelzoo", import.meta.url));
}

/**
 * Runs a worker until the process is told to stop.
 *
 * @param openBackend makes what runs the models.
 */
export async function serveWorker(
  options: ServeOptions,
  openBackend: (clock: Clock, setup: WorkerSetup) => Backend | Promise<Backend>,
): Promise<void> {
  const log = console.log;
  log("Starting Clockwork Worker");
  const credentials = readCredentials(options);
  const setup = readConfig(options.config, log);
  const { config } = setup;
  const clock = new SystemClock();
  const stop = new StopSignals();
  const backend = await Promise.race([openBackend(clock, setup), stop.stopped]);
  // Opening a device cannot be interrupted otherwise.
  if (backend === undefined) Deno.exit(0);
  let refused = 0;
  const listener = options.join !== undefined ? null : listenFor(
    (link) => server.accept(link),
    options,
    credentials,
    clock,
    (peer, reason) => {
      refused++;
      log(`Refused a connection from ${peer}: ${reason}`);
    },
  );
  // Only now: those that are there may be of a worker that has the port.
  const logs = openWorkerLogs(config, clock, log);
  const metrics = options.metrics === undefined ? null : new WorkerMetrics(() => server.view());
  const telemetry = both(logs?.telemetry, metrics);
  const uploadDir = uploadsIn(options);
  const uploads = uploadDir === null ? null : openUploads(clock, uploadDir, options);
  const server: WorkerServer = new WorkerServer({
    clock,
    backend,
    config,
    log,
    telemetry,
    uploads,
  });
  const metricsServer = options.metrics === undefined
    ? null
    : await serveMetrics(options.metrics, accessOf(credentials, options), [
      ...ownProcessMetrics(clock, "worker"),
      ...metrics!.metrics(),
      ...networkMetrics(() => server.peers(), () => refused),
    ]);
  if (listener !== null) {
    log(`IO service thread listening on ${formatAddress(listener.address)}`);
  }
  if (options.join !== undefined) {
    log(`Joining controller ${formatAddress(options.join)}`);
    joinController(options.join, clock, stop, log, server.accept, credentials);
  }
  await stop.stopped;
  listener?.close();
  server.drain();
  await drained(clock, options.drain, "actions", () => server.pending);
  server.close();
  const deadlineNs = clock.now() + CLOSE_TIMEOUT_NS;
  const connections = () => listener?.connections ?? server.controllers;
  while (connections() > 0 && clock.now() < deadlineNs) await sleep(clock, 10 * MS);
  metricsServer?.close();
  logs?.close();
  clock.close();
  Deno.exit(0);
}

/** Tells both of what there is. */
function both(
  logs: WorkerTelemetry | undefined,
  metrics: WorkerTelemetry | null,
): WorkerTelemetry | undefined {
  if (logs === undefined || metrics === null) return metrics ?? logs;
  return {
    onAction: (record) => {
      logs.onAction?.(record);
      metrics.onAction?.(record);
    },
    onTask: (record) => {
      logs.onTask?.(record);
      metrics.onTask?.(record);
    },
  };
}

function listenFor(
  accept: Accept,
  options: ServeOptions,
  credentials: Credentials,
  clock: Clock,
  onRefused: (peer: string, reason: string) => void,
): Listener {
  try {
    return listen(
      { hostname: options.host, port: options.port },
      clock,
      {
        role: "worker",
        peerRoles: ["controller"],
        access: accessOf(credentials, options),
        ...asTls(credentials.tls),
        ...limitsOf(options),
        onRefused,
      },
      accept,
    );
  } catch (error) {
    throw new CliError((error as Error).message);
  }
}

function readConfig(option: string | undefined, log: (line: string) => void): WorkerSetup {
  const custom = option ?? (Deno.env.get("CLOCKWORK_CONFIG_FILE") || undefined);
  const path = custom ?? fileURLToPath(new URL("../../config/default.cfg", import.meta.url));
  log(`Loading Clockwork worker ${custom === undefined ? "default " : ""}config from ${path}`);
  try {
    const { config, given } = readWorkerConfig(path);
    return { config, chosen: custom === undefined ? new Set() : given };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new UsageError(error.message);
  }
}

function sleep(clock: Clock, durationNs: number): Promise<void> {
  return new Promise((resolve) => clock.at(clock.now() + durationNs, resolve));
}
