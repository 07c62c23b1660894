/** `clockwork report LOGDIR [-o FILE] [--json]`. */
import { Command } from "commander";
import { type LogFile, type LogStats, makeReport, readLogs } from "../telemetry/report/report.ts";
import { reportLines } from "../telemetry/report/table.ts";
import { LogError } from "../telemetry/report/tsv_parser.ts";
import { CliError } from "./exit.ts";
import { ACTION_LOG, logFiles, PREVIOUS, REQUEST_LOG } from "./logs/log_file.ts";

interface Options {
  readonly output?: string;
  readonly json: boolean;
}

/** Bytes of a log that are read at a time. */
const CHUNK_BYTES = 1 << 20;

export function reportCommand(): Command {
  return new Command("report")
    .description(
      "Summarizes a controller's logs: how many requests were answered in time, latencies, " +
        "how well the controller predicted, and what each GPU did.",
    )
    .argument("<LOGDIR>", "the controller's CLOCKWORK_LOG_DIR")
    .option("-o, --output <file>", "write a page with plots, for a web browser")
    .option("--json", "print the numbers as JSON", false)
    .addHelpText(
      "after",
      `\nLOGDIR/${PREVIOUS} has the logs of the controller before the last.\n\n` +
        "Example:\n  clockwork report logs -o report.html\n",
    )
    .action(run);
}

async function run(directory: string, options: Options): Promise<void> {
  const stats = read(directory);
  const report = makeReport(stats);
  console.log(
    options.json ? JSON.stringify(report, null, 2) : reportLines(report).join("\n"),
  );
  if (options.output === undefined) return;
  // Only who wants the page loads the plots' library.
  const { makePage } = await import("../telemetry/report/page.ts");
  try {
    Deno.writeTextFileSync(options.output, makePage(report, stats));
  } catch (error) {
    throw new CliError(`cannot write ${options.output}: ${(error as Error).message}`);
  }
  console.error(`The page is in ${options.output}`);
}

function read(directory: string): LogStats {
  const opened: Deno.FsFile[] = [];
  try {
    const open = (paths: readonly string[]) => paths.map((path) => openLog(path, opened));
    const paths = { requests: find(directory, REQUEST_LOG), actions: find(directory, ACTION_LOG) };
    if (paths.requests.length + paths.actions.length === 0) {
      throw new CliError(
        `there are no logs in ${directory}: expected ${REQUEST_LOG} and ${ACTION_LOG}, as a ` +
          "controller writes them to its CLOCKWORK_LOG_DIR",
      );
    }
    // All are opened before any is read: a controller that is running may rename them.
    return readLogs({ requests: open(paths.requests), actions: open(paths.actions) });
  } catch (error) {
    throw error instanceof LogError ? new CliError(error.message) : error;
  } finally {
    for (const file of opened) file.close();
  }
}

function find(directory: string, name: string): string[] {
  try {
    return logFiles(directory, name);
  } catch (error) {
    throw new CliError(`cannot read the directory ${directory}: ${(error as Error).message}`);
  }
}

function openLog(path: string, opened: Deno.FsFile[]): LogFile {
  let bytes: number;
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path);
    opened.push(file);
    bytes = file.statSync().size;
  } catch (error) {
    throw new CliError(`cannot read ${path}: ${(error as Error).message}`);
  }
  return { name: path, chunks: readChunks(file, bytes) };
}

/** What a file holds now: a controller that is running may write faster than we read. */
function* readChunks(file: Deno.FsFile, bytes: number): Generator<Uint8Array> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let left = bytes; left > 0;) {
    const count = file.readSync(buffer.subarray(0, Math.min(left, CHUNK_BYTES)));
    if (count === null) return;
    yield buffer.subarray(0, count);
    left -= count;
  }
}
