/** Log files: where they are, how they are rotated, and how they are found. */
import { basename, join } from "node:path";
import type { Columns } from "../../telemetry/records.ts";
import { headerOf, type LogSink } from "../../telemetry/tsv_log.ts";
import type { Clock } from "../../core/clock.ts";
import { CliError } from "../exit.ts";

export const REQUEST_LOG = "clockwork_request_log.tsv";
export const ACTION_LOG = "clockwork_action_log.tsv";
/** Where the logs of the controller before this one are kept, below the directory of logs. */
export const PREVIOUS = "previous";

/** What to do when the controller's logs cannot be written. */
const SET_LOG_DIR = "set CLOCKWORK_LOG_DIR to a directory that can be written";
/** Files of a log that are kept, and how long each becomes, unless told otherwise. */
export const DEFAULT_LOG_FILES = 8;
export const DEFAULT_LOG_FILE_MB = 256;

/** What this process hears before it ends in another way than it should. */
const LAST_EVENTS = ["unload", "error", "unhandledrejection"] as const;

/** Has logs closed, and so written, even if a second Ctrl-C or an uncaught error ends the process. */
export function closeAtExit(close: () => void): void {
  for (const event of LAST_EVENTS) globalThis.addEventListener(event, close);
}

/** Translates times of a clock to nanoseconds since 1970, as text: they exceed an exact number. */
export function epochOf(clock: Clock): (ns: number) => string {
  const originEpochNs = BigInt(Date.now()) * 1_000_000n - BigInt(Math.round(clock.now()));
  return (ns) => (originEpochNs + BigInt(Math.round(ns))).toString();
}

/**
 * Files of one log, oldest first: `NAME.2`, `NAME.1`, `NAME`. Empty when there are none.
 * @throws {Deno.errors.NotFound} and the like when the directory cannot be read.
 */
export function logFiles(directory: string, name: string): string[] {
  const numbered: [age: number, path: string][] = [];
  for (const entry of Deno.readDirSync(directory)) {
    if (entry.isDirectory || !entry.name.startsWith(name)) continue;
    const match = /^(?:|\.([1-9]\d{0,5}))$/.exec(entry.name.slice(name.length));
    if (match !== null) numbered.push([Number(match[1] ?? 0), join(directory, entry.name)]);
  }
  return numbered.sort(([a], [b]) => b - a).map(([, path]) => path);
}

/**
 * Makes room for the logs of a new controller: makes the directory if it is missing, and moves the
 * logs of the controller before, if they have any rows, to its folder `previous`, in place of what
 * was there. So a crash does not cost its evidence when the controller is started again.
 *
 * @param logs the columns of each log, by name.
 * @param remedy ends the message when this cannot be done.
 * @returns lets other processes have the logs, which until then they cannot, unless this one ends.
 * @throws {CliError} when the directory cannot be made or written, or another process has the logs.
 */
export function claimLogs(
  directory: string,
  logs: Readonly<Record<string, Columns<never>>>,
  remedy = SET_LOG_DIR,
): () => void {
  const first = join(directory, Object.keys(logs)[0]!);
  let lock: Deno.FsFile;
  try {
    Deno.mkdirSync(directory, { recursive: true });
    lock = Deno.openSync(`${first}.lock`, { create: true, write: true });
  } catch (error) {
    throw unwritable(first, error as Error, remedy);
  }
  try {
    if (isTaken(lock)) {
      throw new Error("another process writes it, and each needs its own directory");
    }
    clearLogs(directory, logs);
  } catch (error) {
    lock.close();
    throw unwritable(first, error as Error, remedy);
  }
  let held = true;
  return () => {
    if (held) lock.close();
    held = false;
  };
}

function isTaken(lock: Deno.FsFile): boolean {
  try {
    return !lock.tryLockSync(true);
  } catch {
    // Some network file systems have no locks: then everybody must take care.
    return false;
  }
}

function clearLogs(directory: string, logs: Readonly<Record<string, Columns<never>>>): void {
  const files = Object.keys(logs).flatMap((name) => logFiles(directory, name));
  const haveRows = Object.entries(logs).some(([name, columns]) => {
    const paths = logFiles(directory, name);
    return paths.length > 1 ||
      paths.some((path) => Deno.statSync(path).size > headerOf(columns).length);
  });
  if (haveRows) {
    const previous = join(directory, PREVIOUS);
    Deno.mkdirSync(previous, { recursive: true });
    for (const name of Object.keys(logs)) {
      for (const path of logFiles(previous, name)) Deno.removeSync(path);
    }
    for (const path of files) {
      Deno.renameSync(path, join(previous, basename(path)));
    }
  } else {
    for (const path of files) Deno.removeSync(path);
  }
}

/**
 * Opens a log, emptied. When it is rotated, `path` becomes `path.1`, what was that becomes `path.2`, and
 * so on; of these files, at most `maxFiles` are kept.
 *
 * @throws {CliError} naming the file when it cannot be written.
 */
export function openLog(path: string, maxFiles: number, remedy = SET_LOG_DIR): LogSink {
  let file: Deno.FsFile;
  try {
    file = create(path);
  } catch (error) {
    throw unwritable(path, error as Error, remedy);
  }
  const encoder = new TextEncoder();
  let failed = false;
  /** A full disk must not stop the serving of requests: the log ends instead. */
  const orEnd = (work: () => void) => {
    if (failed) return;
    try {
      work();
    } catch (error) {
      failed = true;
      console.error(`${path} ends here: ${(error as Error).message}`);
    }
  };
  const write = (text: string) => {
    // What is written to a file without a name can be read by nobody. Windows does not tell, nor let it go.
    if (file.statSync().nlink === 0) throw new Error("the file has been removed");
    const bytes = encoder.encode(text);
    for (let offset = 0; offset < bytes.length;) offset += file.writeSync(bytes.subarray(offset));
  };
  return {
    write: (text) => orEnd(() => write(text)),
    rotate: (header) =>
      orEnd(() => {
        makeRoom(path, maxFiles);
        // Only now, so that a failure leaves a file to close.
        const next = create(path);
        file.close();
        file = next;
        write(header);
      }),
    close: () => file.close(),
  };
}

function create(path: string): Deno.FsFile {
  return Deno.openSync(path, { write: true, create: true, truncate: true });
}

/** Lets each file of a log take the next number, and removes the one that is one too many. */
function makeRoom(path: string, maxFiles: number): void {
  const nameOf = (age: number) => age === 0 ? path : `${path}.${age}`;
  for (let age = maxFiles - 2; age >= 0; age--) {
    try {
      Deno.renameSync(nameOf(age), nameOf(age + 1));
    } catch (error) {
      // Not so many have been made yet, or somebody took one away.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  if (maxFiles === 1) Deno.removeSync(path);
}

function unwritable(path: string, { message }: Error, remedy: string): CliError {
  return new CliError(`cannot write the log ${path}: ${message}; ${remedy}`);
}
