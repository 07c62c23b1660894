import type { TextSink } from "../telemetry/tsv_log.ts";
import { CliError } from "./exit.ts";

/**
 * Opens a file for a log, emptied, with its directory made if missing.
 * @throws {CliError} naming the file when it cannot be written.
 */
export function openLog(path: string): TextSink {
  const directory = path.slice(0, path.lastIndexOf("/"));
  let file: Deno.FsFile;
  try {
    Deno.mkdirSync(directory, { recursive: true });
    file = Deno.openSync(path, { write: true, create: true, truncate: true });
  } catch (error) {
    throw new CliError(
      `cannot write the log ${path}: ${(error as Error).message}; ` +
        "set CLOCKWORK_LOG_DIR to a directory that can be written",
    );
  }
  const encoder = new TextEncoder();
  let failed = false;
  return {
    write: (text) => {
      if (failed) return;
      try {
        const bytes = encoder.encode(text);
        for (let offset = 0; offset < bytes.length;) {
          offset += file.writeSync(bytes.subarray(offset));
        }
      } catch (error) {
        // A full disk must not stop the serving of requests.
        failed = true;
        console.error(`${path} ends here: ${(error as Error).message}`);
      }
    },
    close: () => file.close(),
  };
}
