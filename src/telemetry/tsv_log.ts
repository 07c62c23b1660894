import { type Clock, every, SECOND, type Timer } from "../core/clock.ts";

/** Where a log's text goes: a file, or memory in a test. */
export interface TextSink {
  write(text: string): void;
  close(): void;
}

/** Rows are written when this much text has gathered, and every second. */
const BUFFER_CHARS = 64 * 1024;

/**
 * A log of tab-separated rows below a header line. Rows are gathered, and written once a second at the
 * latest, so that a crash loses at most the last second.
 */
export class TsvLog<Row> {
  readonly #sink: TextSink;
  readonly #columns: readonly (readonly [string, (row: Row) => string | number])[];
  readonly #timer: Timer;
  #buffer: string;
  #closed = false;

  /** `columns` are the names in order, each with how to read it from a row. */
  constructor(
    clock: Clock,
    sink: TextSink,
    columns: readonly (readonly [string, (row: Row) => string | number])[],
  ) {
    this.#sink = sink;
    this.#columns = columns;
    this.#buffer = columns.map(([name]) => name).join("\t") + "\n";
    this.#timer = every(clock, SECOND, () => this.#flush());
  }

  /** Adds a row; once the log is closed, it does nothing. */
  append(row: Row): void {
    if (this.#closed) return;
    const columns = this.#columns;
    let line = "";
    for (let i = 0; i < columns.length; i++) line += (i === 0 ? "" : "\t") + columns[i]![1](row);
    this.#buffer += line + "\n";
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
    this.#buffer = "";
  }
}
