/// <reference lib="deno.worker" />
/** The thread that writes logs, see {@link LogWriter}. */
import type { LogSink } from "../../telemetry/tsv_log.ts";
import { openLog } from "./log_file.ts";

/** What the thread is told; it does one after the other. `log` is a number that "open" gives a log. */
export type ToLogThread =
  & { readonly log: number }
  & (
    | { readonly type: "open"; readonly path: string; readonly maxFiles: number }
    | { readonly type: "write"; readonly text: string }
    | { readonly type: "rotate"; readonly header: string }
    | { readonly type: "close" }
  );

/** The first message: a number to count up for each of those that follow, once it is done. */
export interface LogThreadStart {
  readonly done: SharedArrayBuffer;
}

const logs = new Map<number, LogSink>();
let done: Int32Array | undefined;

self.onmessage = ({ data }: MessageEvent<LogThreadStart | ToLogThread>) => {
  if ("done" in data) {
    done = new Int32Array(data.done);
    return;
  }
  try {
    carryOut(data);
  } catch (error) {
    console.error(`a log ends here: ${(error as Error).message}`);
    logs.delete(data.log);
  }
  Atomics.add(done!, 0, 1);
  Atomics.notify(done!, 0);
};

function carryOut(told: ToLogThread): void {
  const { log } = told;
  switch (told.type) {
    case "open":
      logs.set(log, openLog(told.path, told.maxFiles));
      break;
    case "write":
      logs.get(log)?.write(told.text);
      break;
    case "rotate":
      logs.get(log)?.rotate(told.header);
      break;
    case "close":
      logs.get(log)?.close();
      logs.delete(log);
  }
}
