import assert from "node:assert/strict";
import { writeTrace } from "../../../bench/trace.ts";
import { SECOND } from "../../core/clock.ts";
import { Random } from "../../core/random.ts";
import { meanRate, Mix, replay, shuffled } from "./replay.ts";
import { ModelTrace, readModelTrace } from "./trace.ts";
import { MINUTES, readTrace, traceFileName } from "./trace_file.ts";

function withTrace(functions: number, body: (path: string) => void): void {
  const directory = Deno.makeTempDirSync();
  try {
    body(writeTrace(directory, 1, { functions, seed: 3 }));
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

Deno.test("functions go to models by popularity in blocks, and no invocation is lost", () => {
  withTrace(100, (path) => {
    const totals = new Array<number>(100).fill(0);
    const perMinute = new Array<number>(MINUTES).fill(0);
    readTrace(path, (row, minute, count) => {
      totals[row]! += count;
      perMinute[minute]! += count;
    });
    const trace = readModelTrace(path, 30);
    assert.equal(trace.functions, 100);
    assert.equal(trace.invocations, totals.reduce((a, b) => a + b, 0));
    const sorted = totals.toSorted((a, b) => b - a);
    for (let model = 0; model < 30; model++) {
      let sum = 0;
      for (let minute = 0; minute < MINUTES; minute++) sum += trace.minute(minute)[model]!;
      // 100 functions on 30 models: the first ten have four, the others three.
      const expected = sorted.filter((_, rank) => rank % 30 === model).reduce((a, b) => a + b, 0);
      assert.equal(sum, expected);
    }
    for (const minute of [0, 719, 1439]) {
      assert.equal(trace.minute(minute).reduce((a, b) => a + b, 0), perMinute[minute]);
    }
  });
});

Deno.test("more models than functions leave some without", () => {
  withTrace(10, (path) => {
    const trace = readModelTrace(path, 25);
    for (let minute = 0; minute < MINUTES; minute++) {
      assert.ok(trace.minute(minute).subarray(10).every((count) => count === 0));
    }
  });
});

Deno.test("a trace without invocations is refused", () => {
  const directory = Deno.makeTempDirSync();
  try {
    const path = `${directory}/${traceFileName(1)}`;
    const minutes = Array.from({ length: MINUTES }, (_, i) => i + 1);
    const header = `HashOwner,HashApp,HashFunction,Trigger,${minutes.join(",")}\n`;
    Deno.writeTextFileSync(path, `${header}o,a,f,http,${minutes.map(() => 0).join(",")}\n`);
    assert.throws(() => readModelTrace(path, 3), /has no invocations/);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

/** Three models; minute m has m invocations of the first, 60 of the second, none of the third. */
function madeTrace(): ModelTrace {
  const counts = new Float32Array(MINUTES * 3);
  let invocations = 0;
  for (let minute = 0; minute < MINUTES; minute++) {
    counts[minute * 3] = minute;
    counts[minute * 3 + 1] = 60;
    invocations += minute + 60;
  }
  return new ModelTrace(3, 2, invocations, counts);
}

Deno.test("a minute's counts become rates, times the scale; the day goes round", () => {
  const options = { scales: [0.5], periodNs: Infinity, intervalNs: SECOND, firstMinute: 1438 };
  const segments = [...replay(madeTrace(), { ...options, endNs: 4.5 * SECOND })];
  assert.deepEqual(
    segments.map(({ rate, endNs }) => [Math.round(rate * 120), endNs / SECOND]),
    [[1498, 1], [1499, 2], [60, 3], [61, 4], [62, 4.5]],
  );
  assert.equal(meanRate(madeTrace()), (60 + 1439 / 2) / 60);
  const whole = [...replay(madeTrace(), { ...options, endNs: MINUTES * SECOND })];
  assert.equal(whole.length, MINUTES);
});

Deno.test("load factors follow one another, wherever the minutes change", () => {
  const segments = [...replay(madeTrace(), {
    scales: [1, 2, 4],
    periodNs: 1.5 * SECOND,
    intervalNs: SECOND,
    firstMinute: 0,
    endNs: Infinity,
  })];
  assert.deepEqual(
    segments.map(({ rate, endNs }) => [Math.round(rate * 60), endNs / SECOND]),
    [[60, 1], [61, 1.5], [122, 2], [124, 3], [252, 4], [256, 4.5]],
  );
});

Deno.test("a mix chooses in proportion, and never what has no share", () => {
  const mix = new Mix(Float32Array.of(0, 30, 0, 10, 0));
  assert.equal(mix.total, 40);
  const random = new Random(1);
  const counts = new Array<number>(5).fill(0);
  for (let i = 0; i < 10_000; i++) counts[mix.pick(random)]!++;
  assert.deepEqual([counts[0], counts[2], counts[4]], [0, 0, 0]);
  // Four standard deviations.
  assert.ok(Math.abs(counts[1]! - 7500) < 4 * Math.sqrt(10_000 * 0.75 * 0.25), `${counts}`);
});

Deno.test("the first and the last of a mix are chosen too", () => {
  const mix = new Mix(Float32Array.of(1, 0, 3));
  assert.equal(mix.total, 4);
  assert.equal(new Mix(new Float32Array()).total, 0);
  const random = new Random(2);
  const counts = [0, 0, 0];
  for (let i = 0; i < 10_000; i++) counts[mix.pick(random)]!++;
  assert.equal(counts[1], 0);
  assert.ok(Math.abs(counts[0]! - 2500) < 4 * Math.sqrt(10_000 * 0.75 * 0.25), `${counts}`);
});

Deno.test("models are shuffled by seed", () => {
  const models = Array.from({ length: 50 }, (_, i) => i);
  const once = shuffled(models, new Random(1));
  assert.deepEqual(shuffled(models, new Random(1)), once);
  assert.notDeepEqual(shuffled(models, new Random(2)), once);
  assert.notDeepEqual(once, models);
  assert.deepEqual(once.toSorted((a, b) => a - b), models);
});
