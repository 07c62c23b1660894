/** Logs that are written by a thread: disks stall now and then, and decisions must not wait for them. */
import type { LogSink } from "../../telemetry/tsv_log.ts";
import { openLog } from "./log_file.ts";
import type { LogThreadStart, ToLogThread } from "./log_thread.ts";

const ENTRY = new URL("./log_thread.ts", import.meta.url);
/** Pieces of text that may wait for the disk, each of 64 KiB and a row at most. */
const MAX_WAITING = 1024;
/** How long the end of the process may wait for the disk. */
const CLOSE_MS = 5000;

/** Without `Omit`'s loss of a union's cases. */
type Told = ToLogThread extends infer T ? T extends unknown ? Omit<T, "log"> : never : never;

export class LogWriter {
  readonly #thread = new Worker(ENTRY, { type: "module", name: "logs" });
  /** Counted up by the thread for each message that it has dealt with. */
  readonly #done = new Int32Array(new SharedArrayBuffer(4));
  readonly #maxWaiting: number;
  readonly #report: (line: string) => void;
  #told = 0;
  #logs = 0;
  #closed = false;

  constructor(maxWaiting = MAX_WAITING, report: (line: string) => void = console.error) {
    this.#maxWaiting = maxWaiting;
    this.#report = report;
    const start: LogThreadStart = { done: this.#done.buffer as SharedArrayBuffer };
    this.#thread.postMessage(start);
  }

  /**
   * As {@link openLog}. Text that comes while the disk has been behind for long is left out.
   * @throws {CliError} naming the file when it cannot be written.
   */
  open(path: string, maxFiles: number, remedy?: string): LogSink {
    // Here, so that who started the program is told what is wrong, rather than the thread.
    openLog(path, maxFiles, remedy).close();
    const log = this.#logs++;
    const tell = (message: Told) => this.#tell({ ...message, log } as ToLogThread);
    let leavingOut = false;
    tell({ type: "open", path, maxFiles });
    return {
      write: (text) => {
        const behind = this.#waiting >= this.#maxWaiting;
        if (behind && !leavingOut) {
          this.#report(`${path}: the disk does not keep up, and rows are left out until it does`);
        }
        leavingOut = behind;
        if (!behind) tell({ type: "write", text });
      },
      rotate: () => tell({ type: "rotate" }),
      close: () => tell({ type: "close" }),
    };
  }

  /** Returns when all is written, or the disk has had time enough: the process may end then. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const endMs = performance.now() + CLOSE_MS;
    while (this.#waiting > 0) {
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) break;
      Atomics.wait(this.#done, 0, Atomics.load(this.#done, 0), leftMs);
    }
    this.#thread.terminate();
  }

  /** Messages that the thread has not dealt with. */
  get #waiting(): number {
    return (this.#told - Atomics.load(this.#done, 0)) | 0;
  }

  #tell(message: ToLogThread): void {
    if (this.#closed) return;
    this.#told = (this.#told + 1) | 0;
    this.#thread.postMessage(message);
  }
}
