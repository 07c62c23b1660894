/**
 * Logs are written by a thread, because disks stall now and then, and decisions must not wait for them.
 */
import type { LogSink } from "../../telemetry/tsv_log.ts";
import { describeBytes } from "../../wire/describe.ts";
import { openLog } from "./log_file.ts";
import type { LogThreadStart, ToLogThread } from "./log_thread.ts";

const ENTRY = new URL("./log_thread.ts", import.meta.url);
/** Pieces of text that may wait for the disk, each of 64 KiB and a row at most. */
const MAX_WAITING = 1024;
/** How long the end of the process may wait for the disk. */
const CLOSE_MS = 5000;

/** Without `Omit`'s loss of a union's cases. */
type Told = ToLogThread extends infer T ? T extends unknown ? Omit<T, "log"> : never : never;

/** What differs in tests. */
export interface LogWriterOptions {
  readonly maxWaiting?: number;
  readonly closeMs?: number;
  /** The thread's module. */
  readonly entry?: URL;
  /** Gets what people should know. */
  readonly report?: (line: string) => void;
}

export class LogWriter {
  readonly #thread: Worker;
  /** Counted up by the thread for each message that it has dealt with. */
  readonly #done = new Int32Array(new SharedArrayBuffer(4));
  readonly #maxWaiting: number;
  readonly #closeMs: number;
  readonly #report: (line: string) => void;
  #told = 0;
  #logs = 0;
  #closed = false;

  constructor(options: LogWriterOptions = {}) {
    this.#maxWaiting = options.maxWaiting ?? MAX_WAITING;
    this.#closeMs = options.closeMs ?? CLOSE_MS;
    this.#report = options.report ?? console.error;
    this.#thread = new Worker(options.entry ?? ENTRY, { type: "module", name: "logs" });
    this.#thread.onerror = (event) => {
      // Serving goes on without it, as it does when the disk is full.
      event.preventDefault();
      this.#closed = true;
      this.#report(`the logs end here: their thread has died: ${event.message}`);
    };
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
    /** Bytes since the disk has been behind; null while it is not. */
    let leftOut: number | null = null;
    tell({ type: "open", path, maxFiles });
    return {
      write: (text) => {
        // It goes on when half of it is written: a disk that is a bit too slow is told of now and then.
        const behind = this.#waiting >= this.#maxWaiting / (leftOut === null ? 1 : 2);
        if (behind) {
          if (leftOut === null) {
            this.#report(`${path}: the disk does not keep up, and rows are left out until it does`);
          }
          leftOut = (leftOut ?? 0) + text.length;
          return;
        }
        if (leftOut !== null) {
          const bytes = describeBytes(leftOut);
          this.#report(`${path}: the disk keeps up again; ${bytes} of rows were left out`);
          leftOut = null;
        }
        tell({ type: "write", text });
      },
      rotate: (header) => tell({ type: "rotate", header }),
      close: () => tell({ type: "close" }),
    };
  }

  /** Returns when all is written, or the disk has had time enough: the process may end then. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const endMs = performance.now() + this.#closeMs;
    for (;;) {
      const done = Atomics.load(this.#done, 0);
      if (this.#waitingAt(done) === 0) break;
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) {
        this.#report("the last rows of the logs are lost: the disk has not taken them in time");
        break;
      }
      // Returns at once when the thread has gone on since.
      Atomics.wait(this.#done, 0, done, leftMs);
    }
    this.#thread.terminate();
  }

  /** Messages that the thread has not dealt with. */
  get #waiting(): number {
    return this.#waitingAt(Atomics.load(this.#done, 0));
  }

  #waitingAt(done: number): number {
    return (this.#told - done) | 0;
  }

  #tell(message: ToLogThread): void {
    if (this.#closed) return;
    this.#told = (this.#told + 1) | 0;
    this.#thread.postMessage(message);
  }
}
