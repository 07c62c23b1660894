import { type Clock, every, SECOND, type Timer } from "../core/clock.ts";
import type { Columns } from "./records.ts";

/** Where a log's text goes: files, or memory in a test. */
export interface LogSink {
  write(text: string): void;
  /** What follows goes to a new file, which begins with this header whatever becomes of the rest. */
  rotate(header: string): void;
  close(): void;
}

/** Rows are written when this much text has gathered, and every second. */
const BUFFER_CHARS = 64 * 1024;

/**
 * A log of tab-separated rows below a header line. Rows are gathered, and written once a second at the
 * latest, so that a crash loses at most the last second. A file that would grow past its limit is
 * ended with a whole row, and the next begins with the header.
 */
export class TsvLog<Row> {
  readonly #sink: LogSink;
  readonly #columns: Columns<Row>;
  readonly #maxFileBytes: number;
  readonly #timer: Timer;
  readonly #header: string;
  #buffer = "";
  #fileBytes: number;
  #closed = false;

  /**
   * `columns` are ASCII: the limit counts their characters. A file holds at least one row, however
   * small `maxFileBytes` is.
   */
  constructor(
    clock: Clock,
    sink: LogSink,
    columns: Columns<Row>,
    maxFileBytes = Infinity,
  ) {
    this.#sink = sink;
    this.#columns = columns;
    this.#maxFileBytes = maxFileBytes;
    this.#header = headerOf(columns);
    // At once: a log of a crash in its first second is then a log without rows, not an odd file.
    this.#sink.write(this.#header);
    this.#fileBytes = this.#header.length;
    this.#timer = every(clock, SECOND, () => this.#flush());
  }

  /** Adds a row; once the log is closed, it does nothing. */
  append(row: Row): void {
    if (this.#closed) return;
    const columns = this.#columns;
    let line = "";
    for (let i = 0; i < columns.length; i++) line += (i === 0 ? "" : "\t") + columns[i]![1](row);
    line += "\n";
    const hasRows = this.#fileBytes + this.#buffer.length > this.#header.length;
    if (
      hasRows && this.#fileBytes + this.#buffer.length + line.length > this.#maxFileBytes
    ) {
      this.#flush();
      this.#sink.rotate(this.#header);
      this.#fileBytes = this.#header.length;
    }
    this.#buffer += line;
    if (this.#buffer.length >= BUFFER_CHARS) this.#flush();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer.cancel();
    this.#flush();
    this.#sink.close();
  }

  #flush(): void {
    if (this.#buffer === "") return;
    this.#sink.write(this.#buffer);
    this.#fileBytes += this.#buffer.length;
    this.#buffer = "";
  }
}

/** A log's first line. */
export function headerOf<Row>(columns: Columns<Row>): string {
  return columns.map(([name]) => name).join("\t") + "\n";
}
