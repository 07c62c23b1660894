import assert from "node:assert/strict";
import { join } from "node:path";
import { traceRows, writeTrace } from "../../../bench/trace.ts";
import { MINUTES, readTrace, TraceError, traceFile, TraceParser } from "./trace_file.ts";

const minutes = Array.from({ length: MINUTES }, (_, i) => i + 1);
const HEADER = `HashOwner,HashApp,HashFunction,Trigger,${minutes.join(",")}\n`;

/** A row whose counts are 0 but for some minutes. */
function row(counts: Record<number, number | string>, name = "f"): string {
  return `o,a,${name},http,${minutes.map((minute) => counts[minute] ?? 0).join(",")}\n`;
}

function parse(text: string, cut = Infinity) {
  const counts: [number, number, number][] = [];
  const parser = new TraceParser("day.csv", (...count) => counts.push(count));
  const bytes = new TextEncoder().encode(text);
  for (let i = 0; i < bytes.length; i += cut) parser.feed(bytes.subarray(i, i + cut));
  return { functions: parser.end(), counts };
}

Deno.test("counts come row by row, wherever the file is cut into pieces", () => {
  const text = HEADER + row({ 1: 7, 1440: 12345 }) + row({}) + row({ 600: 1 });
  const expected = { functions: 3, counts: [[0, 0, 7], [0, 1439, 12345], [2, 599, 1]] };
  assert.deepEqual(parse(text), expected);
  for (const cut of [1, 2, 3, 7, 1000]) assert.deepEqual(parse(text, cut), expected);
  // No newline at the end, Windows' ends of lines, a byte order mark.
  assert.deepEqual(parse(text.trimEnd()), expected);
  assert.deepEqual(parse(text.replaceAll("\n", "\r\n")), expected);
  assert.deepEqual(parse("\ufeff" + text), expected);
});

Deno.test("what is wrong with a file is told with its line", () => {
  const wrong: [string, RegExp][] = [
    ["", /^TraceError: day.csv is empty or has no rows/],
    [HEADER.trimEnd(), /is empty or has no rows/],
    [HEADER.replace("HashApp", "App") + row({}), /line 1: column 2 is "App", expected "HashApp"/],
    [HEADER.replace(",1440", "") + row({}), /line 1: column 1444 is missing, expected "1440"/],
    [HEADER.replace(",1440", ",1440,1441"), /column 1445 is "1441", expected no more columns/],
    [row({}), /line 1: column 1 is "o", expected "HashOwner"/],
    ["x".repeat(100_000), /line 1: column 1 is missing, expected "HashOwner"/],
    [HEADER + row({}) + row({ 3: "-1" }), /line 3: the count of minute 3 has "-"/],
    [HEADER + row({ 1440: "1.5" }), /line 2: the count of minute 1440 has "."/],
    [HEADER + row({ 5: "many" }), /line 2: the count of minute 5 has "m"/],
    [HEADER + row({ 5: "" }), /line 2: the count of minute 5 has "" where a whole number/],
    [HEADER + row({ 5: "12345678901" }), /line 2: the count of minute 5 has "1234567890…"/],
    [HEADER + "o,a,f,http,1,2\n", /line 2: 6 columns, expected 1444/],
    [HEADER + row({}).trimEnd() + ",0\n", /line 2: more than 1444 columns/],
    [HEADER + row({}, '"f"'), /line 2: column 3 is quoted/],
  ];
  for (const [text, message] of wrong) {
    assert.throws(() => parse(text), (error) => {
      assert.ok(error instanceof TraceError);
      assert.match(String(error), message);
      return true;
    });
  }
});

Deno.test("a day's file is looked for, and what there is instead is told", () => {
  const directory = Deno.makeTempDirSync();
  try {
    assert.throws(() => traceFile(join(directory, "nowhere"), 1), /cannot read .*AZURE_TRACE_DIR/);
    assert.throws(() => traceFile(directory, 1), /no .*d01.csv in .*none of the trace's files/);
    const path = writeTrace(directory, 2, { functions: 20, seed: 1 });
    writeTrace(directory, 11, { functions: 1, seed: 1 });
    assert.equal(traceFile(directory, 2), path);
    assert.throws(() => traceFile(directory, 3), /no .*d03.csv in .*, which has day 2, 11$/);
    assert.equal(readTrace(path, () => {}), 20);
    assert.throws(() => readTrace(directory, () => {}), /cannot read/);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("the generated trace is the same by seed, heavy-tailed, and in the format that is read", () => {
  const rows = (seed: number) => [...traceRows({ functions: 500, seed, rate: 20 })].join("");
  const text = rows(7);
  assert.equal(rows(7), text);
  assert.notEqual(rows(8), text);
  const totals = new Array<number>(500).fill(0);
  const parser = new TraceParser("generated", (row, _, count) => totals[row]! += count);
  parser.feed(new TextEncoder().encode(text));
  assert.equal(parser.end(), 500);
  totals.sort((a, b) => b - a);
  const sum = (from: number, to: number) => totals.slice(from, to).reduce((a, b) => a + b, 0);
  assert.ok(sum(0, 50) > sum(50, 500), `${sum(0, 50)} of ${sum(0, 500)}`);
  assert.ok(totals[250]! < totals[0]! / 50);
  // As many invocations as were asked for, but for the bursts and timers that a day cuts off.
  assert.ok(Math.abs(sum(0, 500) / (20 * 86_400) - 1) < 0.02, `${sum(0, 500) / 86_400}`);
});
