/**
 * Parses a log from pieces of any size, and calls back with each row's numbers. Works on bytes; text is
 * created only for messages and for the few numbers that are not integers.
 */

/**
 * What a column holds: `time` is nanoseconds since 1970, told as an offset from a {@link TimeOrigin};
 * `count` is a number of 0 or more; `number` any number; `skip` is not read.
 */
export type ColumnKind = "time" | "count" | "number" | "skip";

/** A log cannot be read. The message names file and line, and what was expected. */
export class LogError extends Error {
  override readonly name = "LogError";
}

/** Whole seconds since 1970 from which times are told; the first time that is read decides. */
export class TimeOrigin {
  seconds: number | null = null;
}

const TAB = 9;
const NEWLINE = 10;
const MINUS = 45;
const ZERO = 48;
/** So many digits always make a number that is exact. */
const EXACT_DIGITS = 15;
/** Digits of the nanoseconds within a second. */
const NS_DIGITS = 9;
/** Of rows, in bytes: those of the logs are below 500. */
const MAX_ROW_BYTES = 65_536;
const decoder = new TextDecoder();

export class TsvParser {
  readonly #file: string;
  readonly #names: readonly string[];
  readonly #kinds: readonly ColumnKind[];
  readonly #origin: TimeOrigin;
  readonly #onRow: (values: Float64Array) => void;
  readonly #values: Float64Array;
  /** The beginning of a row whose end has not come yet. */
  #rest = new Uint8Array(0);
  #line = 0;

  /** `onRow` gets the same array for each row; columns that are skipped are 0. */
  constructor(
    file: string,
    columns: readonly (readonly [name: string, kind: ColumnKind])[],
    origin: TimeOrigin,
    onRow: (values: Float64Array) => void,
  ) {
    this.#file = file;
    this.#names = columns.map(([name]) => name);
    this.#kinds = columns.map(([, kind]) => kind);
    this.#origin = origin;
    this.#onRow = onRow;
    this.#values = new Float64Array(columns.length);
  }

  /** Takes the next bytes, which may be changed afterwards. @throws {LogError} */
  push(bytes: Uint8Array): void {
    let from = 0;
    if (this.#rest.length > 0) {
      const end = bytes.indexOf(NEWLINE);
      const head = bytes.subarray(0, end < 0 ? bytes.length : end);
      const row = concat(this.#rest, head);
      if (end < 0) {
        this.#keep(row);
        return;
      }
      this.#rest = new Uint8Array(0);
      this.#row(row, 0, row.length);
      from = end + 1;
    }
    for (;;) {
      const end = bytes.indexOf(NEWLINE, from);
      if (end < 0) break;
      this.#row(bytes, from, end);
      from = end + 1;
    }
    if (from < bytes.length) this.#keep(bytes.slice(from));
  }

  /**
   * Ends the file. A last row that lacks its newline was cut short by a crash, or is being written:
   * it is left out.
   * @returns whether there was one.
   */
  end(): boolean {
    return this.#rest.length > 0;
  }

  #keep(rest: Uint8Array<ArrayBuffer>): void {
    if (rest.length > MAX_ROW_BYTES) {
      this.#fail(this.#line + 1, `no end of the line within ${MAX_ROW_BYTES} bytes`);
    }
    this.#rest = rest;
  }

  #row(bytes: Uint8Array, from: number, to: number): void {
    this.#line++;
    if (this.#line === 1) {
      this.#checkHeader(decoder.decode(bytes.subarray(from, to)));
      return;
    }
    const columns = this.#kinds.length;
    let at = from;
    for (let column = 0; column < columns; column++) {
      const kind = this.#kinds[column]!;
      if (kind === "skip") { while (at < to && bytes[at] !== TAB) at++; }
      else if (kind === "time") at = this.#time(column, bytes, at, to);
      else at = this.#number(column, bytes, at, to);
      // A tab follows every column but the last.
      if ((at < to) !== (column + 1 < columns)) this.#failColumns(bytes, from, to);
      at++;
    }
    this.#onRow(this.#values);
  }

  /** Reads a number, and returns where it ends. */
  #number(column: number, bytes: Uint8Array, from: number, to: number): number {
    let at = from;
    const negative = bytes[at] === MINUS;
    if (negative) at++;
    const first = at;
    let value = 0;
    for (; at < to; at++) {
      const digit = bytes[at]! - ZERO;
      if (!(digit >= 0 && digit <= 9)) break;
      value = value * 10 + digit;
    }
    const plain = at > first && at - first <= EXACT_DIGITS && (at === to || bytes[at] === TAB);
    if (plain && !(negative && this.#kinds[column] === "count")) {
      this.#values[column] = negative ? -value : value;
      return at;
    }
    const [text, end] = field(bytes, from, to);
    const number = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(text) ? Number(text) : NaN;
    if (!Number.isFinite(number)) this.#failValue(column, text, "a number");
    if (number < 0 && this.#kinds[column] === "count") {
      this.#failValue(column, text, "0 or more");
    }
    this.#values[column] = number;
    return end;
  }

  /** Reads nanoseconds since 1970, which a number does not hold exactly, as seconds and the rest. */
  #time(column: number, bytes: Uint8Array, from: number, to: number): number {
    let at = from;
    while (at < to && bytes[at]! >= ZERO && bytes[at]! <= ZERO + 9) at++;
    const [text, end] = at === from || at - from > EXACT_DIGITS + NS_DIGITS || !isEnd(bytes, at, to)
      ? field(bytes, from, to)
      : ["", at];
    if (text !== "" || at === from) {
      this.#failValue(column, text, "whole nanoseconds since 1970");
    }
    const middle = Math.max(from, end - NS_DIGITS);
    let seconds = 0;
    for (let i = from; i < middle; i++) seconds = seconds * 10 + bytes[i]! - ZERO;
    let ns = 0;
    for (let i = middle; i < end; i++) ns = ns * 10 + bytes[i]! - ZERO;
    this.#origin.seconds ??= seconds;
    this.#values[column] = (seconds - this.#origin.seconds) * 1e9 + ns;
    return end;
  }

  #checkHeader(header: string): void {
    const names = header.split("\t");
    const i = this.#names.findIndex((name, i) => names[i] !== name);
    const expected = `expected these columns, separated by tabs: ${this.#names.join(" ")}`;
    if (i >= 0) {
      const found = names[i] === undefined ? "missing" : `"${shorten(names[i])}"`;
      this.#fail(1, `column ${i + 1} is ${found}, not "${this.#names[i]}"; ${expected}`);
    }
    if (names.length > this.#names.length) {
      const more = names.length - this.#names.length;
      this.#fail(1, `there are ${more} columns more than known; ${expected}`);
    }
  }

  #failColumns(bytes: Uint8Array, from: number, to: number): never {
    const found = bytes.subarray(from, to).reduce((sum, byte) => sum + Number(byte === TAB), 1);
    this.#fail(this.#line, `${found} columns, expected ${this.#names.length}`);
  }

  #failValue(column: number, text: string, expected: string): never {
    this.#fail(
      this.#line,
      `${this.#names[column]} is "${shorten(text)}", expected ${expected}`,
    );
  }

  #fail(line: number, message: string): never {
    throw new LogError(`${this.#file}, line ${line}: ${message}`);
  }
}

function isEnd(bytes: Uint8Array, at: number, to: number): boolean {
  return at === to || bytes[at] === TAB;
}

/** The text of a column that begins at `from`, and where it ends. */
function field(bytes: Uint8Array, from: number, to: number): [string, number] {
  const tab = bytes.subarray(from, to).indexOf(TAB);
  const end = tab < 0 ? to : from + tab;
  return [decoder.decode(bytes.subarray(from, end)), end];
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** For messages: what a file holds may be anything. */
function shorten(text: string): string {
  return text.slice(0, 40).replaceAll(/\p{Cc}/gu, "?");
}
