/**
 * Reader of the Azure Functions 2019 trace: `invocations_per_function_md.anon.dNN.csv`, one file per day,
 * with one row per function and its invocations in each minute. A file of the full dataset has 46 000 rows
 * and more than 100 MB, so it is read as a stream of bytes and nothing of a row is kept.
 */
import { join } from "node:path";

export const MINUTES = 1440;
/** Columns before the counts. */
const TEXT_COLUMNS = ["HashOwner", "HashApp", "HashFunction", "Trigger"];
const CHUNK_BYTES = 1024 * 1024;
/** No count of the dataset is near it; sums over all functions stay exact. */
const MAX_COUNT = 1_000_000_000;

const COMMA = 0x2c, NEWLINE = 0x0a, RETURN = 0x0d, ZERO = 0x30, QUOTE = 0x22;

/** A trace that cannot be read. The message is for people: where, what, and what to do. */
export class TraceError extends Error {
  override readonly name = "TraceError";
}

/** Counts of a row that are not zero: called with the row's number from 0, the minute and the count. */
export type OnCount = (row: number, minute: number, count: number) => void;

/** The name of a day's file. Days count from 1. */
export function traceFileName(day: number): string {
  return `invocations_per_function_md.anon.d${String(day).padStart(2, "0")}.csv`;
}

/**
 * The path of a day's file.
 *
 * @throws {TraceError} when the directory cannot be read or has no such day.
 */
export function traceFile(directory: string, day: number): string {
  const path = join(directory, traceFileName(day));
  let names: string[];
  try {
    names = [...Deno.readDirSync(directory)].map(({ name }) => name);
  } catch (error) {
    throw new TraceError(
      `cannot read the trace directory ${directory} (${(error as Error).message}); set ` +
        "AZURE_TRACE_DIR to the directory of the trace's files",
    );
  }
  if (names.includes(traceFileName(day))) return path;
  const days = names.map((name) =>
    /^invocations_per_function_md\.anon\.d(\d\d)\.csv$/.exec(name)?.[1]
  )
    .filter((found) => found !== undefined).map(Number).sort((a, b) => a - b);
  const found = days.length === 0 ? "none of the trace's files" : `day ${days.join(", ")}`;
  throw new TraceError(`there is no ${traceFileName(day)} in ${directory}, which has ${found}`);
}

/**
 * Reads a file and returns its number of functions. `onCount` is called row by row, minute by minute.
 *
 * @throws {TraceError} naming the file, the line and what is wrong with it.
 */
export function readTrace(path: string, onCount: OnCount): number {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { read: true });
  } catch (error) {
    throw new TraceError(`cannot read ${path}: ${(error as Error).message}`);
  }
  try {
    const parser = new TraceParser(path, onCount);
    const chunk = new Uint8Array(CHUNK_BYTES);
    while (true) {
      const bytes = file.readSync(chunk);
      if (bytes === null) return parser.end();
      parser.feed(chunk.subarray(0, bytes));
    }
  } catch (error) {
    if (error instanceof TraceError) throw error;
    throw new TraceError(`cannot read ${path}: ${(error as Error).message}`);
  } finally {
    file.close();
  }
}

/** A state machine over bytes: rows and fields may be cut anywhere. */
export class TraceParser {
  readonly #path: string;
  readonly #onCount: OnCount;
  #header = "";
  #line = 1;
  /** Column of the field that is being read, from 0. */
  #column = 0;
  /** Of a count. */
  #value = 0;
  #digits = 0;
  /** Bytes of the row so far: an empty line at the end is no row. */
  #rowBytes = 0;
  #rows = 0;

  constructor(path: string, onCount: OnCount) {
    this.#path = path;
    this.#onCount = onCount;
  }

  feed(bytes: Uint8Array): void {
    let i = 0;
    while (this.#line === 1 && i < bytes.length) this.#feedHeader(bytes[i++]!);
    for (; i < bytes.length; i++) this.#feedRow(bytes[i]!);
  }

  /** The end of the file. Returns the number of functions. */
  end(): number {
    if (this.#line === 1) {
      throw new TraceError(
        `${this.#path} is empty or has no rows; expected a file of the Azure Functions trace`,
      );
    }
    if (this.#rowBytes > 0) this.#endRow();
    return this.#rows;
  }

  #feedHeader(byte: number): void {
    if (byte !== NEWLINE) {
      this.#header += String.fromCharCode(byte);
      if (this.#header.length > 64 * 1024) this.#refuseHeader(0);
      return;
    }
    const columns = this.#header.replace("\r", "").replace(/^\u00ef\u00bb\u00bf/, "").split(",");
    const expected = expectedColumns();
    const length = Math.max(columns.length, expected.length);
    for (let i = 0; i < length; i++) {
      if (columns[i] !== expected[i]) this.#refuseHeader(i, columns[i]);
    }
    this.#line = 2;
  }

  #refuseHeader(column: number, got?: string): never {
    const expected = expectedColumns()[column];
    throw new TraceError(
      `${this.#path}: line 1: column ${column + 1} is ` +
        `${got === undefined ? "missing" : JSON.stringify(got.slice(0, 100))}, expected ` +
        `${
          expected === undefined ? "no more columns" : JSON.stringify(expected)
        }: the columns are ` +
        "HashOwner,HashApp,HashFunction,Trigger,1,2,…,1440",
    );
  }

  #feedRow(byte: number): void {
    if (byte === NEWLINE) {
      if (this.#rowBytes > 0) this.#endRow();
      this.#line++;
      return;
    }
    if (byte === RETURN) return;
    this.#rowBytes++;
    if (byte === COMMA) {
      this.#endField();
      this.#column++;
    } else if (this.#column >= TEXT_COLUMNS.length) {
      const digit = byte - ZERO;
      if (digit < 0 || digit > 9) this.#refuseCount(String.fromCharCode(byte));
      this.#digits++;
      this.#value = this.#value * 10 + digit;
      if (this.#value > MAX_COUNT) this.#refuseCount(`${this.#value}…`);
    } else if (byte === QUOTE) {
      this.#refuse(`column ${this.#column + 1} is quoted, which the trace's files are not`);
    }
  }

  #endField(): void {
    const minute = this.#column - TEXT_COLUMNS.length;
    if (minute < 0) return;
    if (minute >= MINUTES) this.#refuse(`more than ${TEXT_COLUMNS.length + MINUTES} columns`);
    if (this.#digits === 0) this.#refuseCount("");
    if (this.#value > 0) this.#onCount(this.#rows, minute, this.#value);
    this.#value = 0;
    this.#digits = 0;
  }

  #endRow(): void {
    this.#endField();
    const columns = this.#column + 1;
    if (columns !== TEXT_COLUMNS.length + MINUTES) {
      this.#refuse(`${columns} columns, expected ${TEXT_COLUMNS.length + MINUTES}`);
    }
    this.#rows++;
    this.#column = 0;
    this.#rowBytes = 0;
  }

  #refuseCount(text: string): never {
    const minute = this.#column - TEXT_COLUMNS.length + 1;
    this.#refuse(
      `the count of minute ${minute} has ${JSON.stringify(text)} where a whole number of at most ` +
        `${MAX_COUNT} is expected`,
    );
  }

  #refuse(what: string): never {
    throw new TraceError(`${this.#path}: line ${this.#line}: ${what}`);
  }
}

function expectedColumns(): string[] {
  return [...TEXT_COLUMNS, ...Array.from({ length: MINUTES }, (_, i) => `${i + 1}`)];
}
