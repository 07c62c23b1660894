/** A worker's optional logs of its actions and their tasks. */
import { join } from "node:path";
import type { Clock } from "../../core/clock.ts";
import type { Columns } from "../../telemetry/records.ts";
import { TsvLog } from "../../telemetry/tsv_log.ts";
import {
  workerActionColumns,
  workerTaskColumns,
  type WorkerTelemetry,
} from "../../telemetry/worker_records.ts";
import type { WorkerConfig } from "../../worker/config.ts";
import {
  claimLogs,
  closeAtExit,
  DEFAULT_LOG_FILE_MB,
  DEFAULT_LOG_FILES,
  epochOf,
} from "./log_file.ts";
import { LogWriter } from "./log_writer.ts";

export const WORKER_ACTION_LOG = "clockwork_worker_action_log.tsv";
export const WORKER_TASK_LOG = "clockwork_worker_task_log.tsv";

const REMEDY = "set telemetry_log_dir in the worker's configuration to a directory that can be " +
  "written, or disable telemetry there";

export interface WorkerLogs {
  readonly telemetry: WorkerTelemetry;
  /** Writes what has been gathered. */
  close(): void;
}

/**
 * Opens the logs that the configuration enables; null when it is none.
 * @throws {CliError} when they cannot be written.
 */
export function openWorkerLogs(
  { enable_action_telemetry, enable_task_telemetry, telemetry_log_dir }: WorkerConfig,
  clock: Clock,
  log: (line: string) => void,
): WorkerLogs | null {
  const epochNs = epochOf(clock);
  const ofActions = enable_action_telemetry ? workerActionColumns(epochNs) : null;
  const ofTasks = enable_task_telemetry ? workerTaskColumns(epochNs) : null;
  if (ofActions === null && ofTasks === null) return null;
  const release = claimLogs(
    telemetry_log_dir,
    {
      ...(ofActions === null ? {} : { [WORKER_ACTION_LOG]: ofActions }),
      ...(ofTasks === null ? {} : { [WORKER_TASK_LOG]: ofTasks }),
    },
    REMEDY,
  );
  const writer = new LogWriter();
  const open = <Row>(what: string, name: string, columns: Columns<Row> | null) => {
    if (columns === null) return null;
    const path = join(telemetry_log_dir, name);
    const sink = writer.open(path, DEFAULT_LOG_FILES, REMEDY);
    log(`Logging ${what} to ${path}`);
    return new TsvLog(clock, sink, columns, DEFAULT_LOG_FILE_MB * 1e6);
  };
  const actions = open("actions", WORKER_ACTION_LOG, ofActions);
  const tasks = open("tasks", WORKER_TASK_LOG, ofTasks);
  const close = () => {
    actions?.close();
    tasks?.close();
    writer.close();
    release();
  };
  closeAtExit(close);
  return {
    telemetry: {
      ...(actions === null ? {} : { onAction: (record) => actions.append(record) }),
      ...(tasks === null ? {} : { onTask: (record) => tasks.append(record) }),
    },
    close,
  };
}
