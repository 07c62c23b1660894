/** The controller's logs of requests and actions. */
import type { Clock } from "../../core/clock.ts";
import {
  actionColumns,
  type ActionRecord,
  type Columns,
  requestColumns,
  type RequestRecord,
} from "../../telemetry/records.ts";
import { TsvLog } from "../../telemetry/tsv_log.ts";
import { ACTION_LOG, claimLogs, epochOf, REQUEST_LOG } from "./log_file.ts";
import { LogWriter } from "./log_writer.ts";

export interface ControllerLogs {
  readonly requests: TsvLog<RequestRecord>;
  readonly actions: TsvLog<ActionRecord>;
  /** Writes what has been gathered. */
  close(): void;
}

/**
 * Empties the logs and opens them; null when there is no directory for them.
 *
 * @param fileMb size at which a new file of a log is begun, in MB, that is 10^6 bytes.
 * @param files of a log that are kept.
 * @throws {CliError} when they cannot be written.
 */
export function openControllerLogs(
  clock: Clock,
  fileMb: number,
  files: number,
): ControllerLogs | null {
  const asked = Deno.env.get("CLOCKWORK_LOG_DIR") || undefined;
  const directory = asked ?? "/local";
  if (asked === undefined && !isDirectory(directory)) {
    console.log("Not logging requests and actions: set CLOCKWORK_LOG_DIR to a directory for them");
    return null;
  }
  const epochNs = epochOf(clock);
  const ofRequests = requestColumns(epochNs);
  const ofActions = actionColumns(epochNs);
  const release = claimLogs(directory, { [REQUEST_LOG]: ofRequests, [ACTION_LOG]: ofActions });
  const writer = new LogWriter();
  const open = <Row>(what: string, name: string, columns: Columns<Row>) => {
    const path = `${directory}/${name}`;
    const log = new TsvLog(clock, writer.open(path, files), columns, fileMb * 1e6);
    console.log(`Logging ${what} to ${path}`);
    return log;
  };
  const requests = open("requests", REQUEST_LOG, ofRequests);
  const actions = open("actions", ACTION_LOG, ofActions);
  return {
    requests,
    actions,
    close: () => {
      requests.close();
      actions.close();
      writer.close();
      release();
    },
  };
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
