import assert from "node:assert/strict";
import { type Clock, MS, SECOND } from "../../core/clock.ts";
import { Random } from "../../core/random.ts";
import { VirtualClock } from "../../core/virtual_clock.ts";
import type { Model } from "../model.ts";
import type { Done } from "../result.ts";
import type { Run } from "../workloads/workload.ts";
import { Arrivals, poissonGaps } from "./arrivals.ts";
import { closedLoop } from "./closed_loop.ts";
import { inTurn, openLoop } from "./open_loop.ts";
import { constantRate, periods } from "./segments.ts";

const model = (id: number): Model => ({ id, path: "/m", inputBytes: 0, outputBytes: 0 });
const failure = { ok: false, from: "controller", status: 7, message: "", latencyNs: 0 } as const;

/** A run that notes what is sent; `answer` says what comes of an `infer`. */
class TestRun implements Run {
  readonly random = new Random(1);
  stopped = false;
  readonly sent: { atNs: number; id: number; sloFactor: number; lateNs: number }[] = [];
  answer: (done: Done<Uint8Array>) => void = () => {};
  constructor(readonly clock: Clock) {}

  infer(model: Model, { sloFactor = 0 }: { sloFactor?: number }, done: Done<Uint8Array>): void {
    this.sent.push({ atNs: this.clock.now(), id: model.id, sloFactor, lateNs: 0 });
    this.answer(done);
  }

  offer(model: Model, { sloFactor = 0 }: { sloFactor?: number }, lateNs: number): void {
    this.sent.push({ atNs: this.clock.now(), id: model.id, sloFactor, lateNs });
  }
}

Deno.test("an open loop does not drift and catches up, however late it is woken", () => {
  const virtual = new VirtualClock(123 * SECOND);
  // Wakes 3 ms late, as a busy machine does: at 20 000 a second, 60 arrivals at a time.
  const run = new TestRun({
    now: () => virtual.now(),
    at: (timeNs, fn) => virtual.at(timeNs + 3 * MS, fn),
  });
  openLoop(
    run,
    new Arrivals(poissonGaps(new Random(1)), constantRate(20_000, null)),
    inTurn([model(0), model(1)]),
  );
  virtual.advance(10 * SECOND);
  const arrivals = new Arrivals(poissonGaps(new Random(1)), constantRate(20_000, null));
  for (const { atNs, lateNs } of run.sent) {
    assert.ok(lateNs <= 3 * MS + 1);
    assert.ok(Math.abs(atNs - lateNs - 123 * SECOND - arrivals.next()) < 1);
  }
  assert.ok(Math.abs(run.sent.length / 200_000 - 1) < 0.01, `${run.sent.length}`);
  assert.ok(new Set(run.sent.map(({ atNs }) => atNs)).size < 5000);
  assert.deepEqual(run.sent.slice(0, 4).map(({ id }) => id), [0, 1, 0, 1]);
});

Deno.test("an open loop ends with its last segment, and sends nothing once the run has stopped", () => {
  const clock = new VirtualClock();
  const run = new TestRun(clock);
  let finishedNs = 0;
  openLoop(
    run,
    new Arrivals(() => 1, periods([4, 8], SECOND, () => 100)),
    (sloFactor) => ({ model: model(0), options: { sloFactor } }),
    () => finishedNs = clock.now(),
  );
  clock.run(10 * SECOND);
  assert.equal(finishedNs, 2 * SECOND);
  assert.deepEqual([...new Set(run.sent.map(({ sloFactor }) => sloFactor))], [4, 8]);
  assert.equal(run.sent.length, 199);

  openLoop(run, new Arrivals(() => 1, constantRate(100, null)), () => model(0));
  clock.advance(SECOND + MS);
  assert.equal(run.sent.length, 299);
  run.stopped = true;
  clock.advance(SECOND);
  assert.equal(run.sent.length, 299);
});

Deno.test("a closed loop whose requests are all refused backs off, and is back after a success", () => {
  const clock = new VirtualClock();
  const run = new TestRun(clock);
  run.answer = (done) => clock.at(clock.now(), () => done(failure));
  closedLoop(run, [model(0)], { concurrency: 100 });
  clock.run(10 * SECOND);
  // 8 pauses of less than half a second in all, then one of 256 ms on average each.
  const perLoop = run.sent.length / 100;
  assert.ok(perLoop > 35 && perLoop < 60, `${perLoop}`);
  // The loops do not come back together.
  assert.ok(new Set(run.sent.slice(-100).map(({ atNs }) => atNs)).size > 90);

  run.answer = (done) =>
    clock.at(clock.now() + MS, () => done({ ok: true, value: new Uint8Array(), latencyNs: MS }));
  run.sent.length = 0;
  clock.advance(SECOND);
  // Each is back within 384 ms.
  assert.ok(run.sent.length > 100 * 616 && run.sent.length <= 100 * 1000, `${run.sent.length}`);

  // And pauses are short again: 1, 2, 4, … ms.
  run.answer = (done) => clock.at(clock.now(), () => done(failure));
  run.sent.length = 0;
  clock.advance(100 * MS);
  assert.ok(run.sent.length > 100 * 4, `${run.sent.length}`);
});

Deno.test("a bursty closed loop keeps its request outstanding in bursts only", () => {
  const clock = new VirtualClock(SECOND);
  const run = new TestRun(clock);
  run.answer = (done) =>
    clock.at(
      clock.now() + 10 * MS,
      () => done({ ok: true, value: new Uint8Array(), latencyNs: 10 * MS }),
    );
  const bursts = { onNs: SECOND, offNs: 2 * SECOND, phaseNs: 2.5 * SECOND };
  closedLoop(run, [model(0)], { concurrency: 1, bursts });
  clock.advance(6 * SECOND);
  const times = run.sent.map(({ atNs }) => atNs / SECOND - 1);
  for (const time of times) assert.ok((time >= 0.5 && time < 1.5) || (time >= 3.5 && time < 4.5));
  assert.equal(times.length, 200);
});

Deno.test("a closed loop asks for its options as time goes by", () => {
  const clock = new VirtualClock(7 * SECOND);
  const run = new TestRun(clock);
  run.answer = (done) =>
    clock.at(clock.now() + SECOND, () => done({ ok: true, value: new Uint8Array(), latencyNs: 1 }));
  closedLoop(run, [model(0)], {
    concurrency: 1,
    infer: (timeNs) => ({ sloFactor: 1 + timeNs / SECOND }),
  });
  clock.advance(3.5 * SECOND);
  assert.deepEqual(run.sent.map(({ sloFactor }) => sloFactor), [1, 2, 3, 4]);
});
