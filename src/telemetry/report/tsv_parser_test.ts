import assert from "node:assert/strict";
import { type ColumnKind, LogError, TimeOrigin, TsvParser } from "./tsv_parser.ts";

const COLUMNS: readonly (readonly [string, ColumnKind])[] = [
  ["t", "time"],
  ["name", "skip"],
  ["count", "count"],
  ["offset", "number"],
];
const HEADER = "t\tname\tcount\toffset\n";
const encode = (text: string) => new TextEncoder().encode(text);

function parse(pieces: readonly Uint8Array[], origin = new TimeOrigin()) {
  const rows: number[][] = [];
  const parser = new TsvParser("a.tsv", COLUMNS, origin, (values) => rows.push([...values]));
  for (const piece of pieces) {
    const buffer = piece.slice();
    parser.push(buffer);
    // Whoever reads a file uses one buffer for all of it.
    buffer.fill(0xff);
  }
  return { rows, cut: parser.end(), origin };
}

function failure(text: string): string {
  try {
    parse([encode(text)]);
  } catch (error) {
    assert.ok(error instanceof LogError);
    return error.message;
  }
  return "";
}

Deno.test("a log is read the same however it is cut into pieces", () => {
  const text = encode(
    `${HEADER}1700000000999999999\tä\t12\t-3\n1700000001000000001\t\t0\t2.5\n17\tx y\t1e3\t-1.5e-3\n`,
  );
  const expected = [
    [999_999_999, 0, 12, -3],
    [1_000_000_001, 0, 0, 2.5],
    // Long before the others: 17 ns after 1970 began.
    [-1_700_000_000 * 1e9 + 17, 0, 1000, -0.0015],
  ];
  const whole = parse([text]);
  assert.deepEqual(whole.rows, expected);
  assert.equal(whole.cut, false);
  assert.equal(whole.origin.seconds, 1_700_000_000);
  for (let a = 0; a <= text.length; a++) {
    for (let b = a; b <= text.length; b += 3) {
      const { rows } = parse([text.subarray(0, a), text.subarray(a, b), text.subarray(b)]);
      assert.deepEqual(rows, expected);
    }
  }
});

Deno.test("a last line that is cut short is left out, wherever it is cut", () => {
  const rows = `${HEADER}5\ta\t1\t2\n6\tb\t12\t34\n`;
  for (let length = rows.lastIndexOf("6"); length < rows.length; length++) {
    const { rows: read, cut } = parse([encode(rows.slice(0, length))]);
    assert.equal(read.length, 1);
    assert.equal(cut, rows.charCodeAt(length - 1) !== 10);
  }
  // Even in the header.
  assert.deepEqual(parse([encode("t\tna")]).rows, []);
  assert.equal(parse([encode("t\tna")]).cut, true);
  assert.equal(parse([]).cut, false);
});

Deno.test("what is wrong with a log is told with its file and line, and what was expected", () => {
  const cases: [text: string, message: string][] = [
    [
      "t\tnome\tcount\toffset\n",
      'a.tsv, line 1: column 2 is "nome", not "name"; expected these columns, separated by tabs: t name count offset',
    ],
    ["t\tname\n", 'a.tsv, line 1: column 3 is missing, not "count"; expected these columns'],
    ["t\tname\tcount\toffset\tx\n", "a.tsv, line 1: there are 1 columns more than known"],
    ["\n", 'a.tsv, line 1: column 1 is "", not "t"'],
    [`${HEADER}1\ta\t1\n`, "a.tsv, line 2: 3 columns, expected 4"],
    [`${HEADER}1\ta\t1\t2\n1\ta\t1\t2\t3\n`, "a.tsv, line 3: 5 columns, expected 4"],
    [`${HEADER}1\ta\t1\t2\n\n`, 'a.tsv, line 3: t is "", expected whole nanoseconds since 1970'],
    [`${HEADER}1.5\ta\t1\t2\n`, 'line 2: t is "1.5", expected whole nanoseconds'],
    [`${HEADER}-1\ta\t1\t2\n`, 'line 2: t is "-1", expected whole nanoseconds'],
    [`${HEADER}${"9".repeat(25)}\ta\t1\t2\n`, `t is "${"9".repeat(25)}", expected whole`],
    [`${HEADER}1\ta\t-1\t2\n`, 'line 2: count is "-1", expected 0 or more'],
    [`${HEADER}1\ta\tNaN\t2\n`, 'line 2: count is "NaN", expected a number'],
    [`${HEADER}1\ta\t\t2\n`, 'line 2: count is "", expected a number'],
    [`${HEADER}1\ta\t1\t1e999\n`, 'line 2: offset is "1e999", expected a number'],
    [`${HEADER}1\ta\t1\t0x10\n`, 'line 2: offset is "0x10", expected a number'],
    // Nothing that moves a terminal's cursor.
    [`${HEADER}1\ta\t1\t\x1b[2J\n`, 'line 2: offset is "?[2J", expected a number'],
    [`${HEADER}${"1".repeat(70_000)}`, "line 2: no end of the line within 65536 bytes"],
  ];
  for (const [text, message] of cases) {
    const found = failure(text);
    assert.ok(found.includes(message), `${found} is not ${message}`);
  }
});

Deno.test("times are exact to the nanosecond, also where another log began earlier", () => {
  const origin = new TimeOrigin();
  parse([encode(`${HEADER}1700000005000000007\ta\t1\t2\n`)], origin);
  const { rows } = parse([encode(`${HEADER}1700000003999999998\ta\t1\t2\n`)], origin);
  assert.equal(rows[0]![0], -1_000_000_002);
});
