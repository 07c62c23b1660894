import assert from "node:assert/strict";
import fc from "fast-check";
import { MS, SECOND } from "../../core/clock.ts";
import { VirtualClock } from "../../core/virtual_clock.ts";
import type { ActionRecord, RequestRecord } from "../records.ts";
import { LatencySketch } from "./latency_sketch.ts";
import { LiveState, MODEL_PERIOD_NS } from "./live_state.ts";
import { KEPT_ACTIONS, RecentActions } from "./recent_actions.ts";
import { KEPT_SECONDS } from "./second_totals.ts";

function rig() {
  const clock = new VirtualClock();
  return { clock, live: new LiveState(clock, (id) => `path${id % 2}`) };
}

function request(nowNs: number, more: Partial<RequestRecord> = {}): RequestRecord {
  return {
    requestId: 0,
    userId: 0,
    modelId: 0,
    sloFactor: 0,
    arrivalNs: nowNs - 4 * MS,
    deadlineNs: nowNs + 1,
    departureNs: nowNs,
    status: 0,
    arrivalCount: 0,
    departureCount: 0,
    cold: false,
    ...more,
  };
}

function action(actionId: number, more: Partial<ActionRecord> = {}): ActionRecord {
  return {
    actionId,
    type: 2,
    action: {
      type: "Infer",
      batchSize: 3,
      gpu: { workerId: 1, gpuId: 2 },
      modelId: 5,
      expectedNs: 3 * MS,
      expectedEndNs: 10 * MS,
      queued: 0,
      copiesLoaded: 1,
    },
    status: 0,
    sentNs: 1 * MS,
    beginNs: 8 * MS,
    endNs: 12 * MS,
    copyOutputEndNs: 0,
    receivedByWorkerNs: 0,
    sentByWorkerNs: 0,
    enqueuedNs: 0,
    gpuClockBefore: 0,
    gpuClock: 0,
    goodput: 1,
    ...more,
  };
}

Deno.test("a sketch's quantiles are within a tenth of the exact ones", () => {
  fc.assert(fc.property(
    fc.array(fc.double({ min: 60_000, max: 30 * SECOND, noNaN: true }), { minLength: 1 }),
    fc.double({ min: 0.01, max: 1, noNaN: true }),
    fc.nat(),
    (values, q, split) => {
      const [a, b] = [new LatencySketch(), new LatencySketch()];
      values.forEach((ns, i) => (i < split % values.length ? a : b).add(ns));
      a.merge(b);
      const sorted = values.toSorted((x, y) => x - y);
      const exact = sorted[Math.max(1, Math.ceil(q * values.length)) - 1]!;
      const told = a.quantileNs(q);
      // A bucket is a fifth wide; where its values are at one end, the estimate may be at the other.
      assert.ok(told >= exact / 1.2001 && told <= exact * 1.2001, `${told} for ${exact}`);
    },
  ));
  const even = new LatencySketch();
  for (let i = 1; i <= 10_000; i++) even.add(i * 10_000);
  for (const q of [0.5, 0.9, 0.99]) assert.ok(Math.abs(even.quantileNs(q) / (q * 1e8) - 1) < 0.02);
  assert.equal(new LatencySketch().quantileNs(0.5), 0);
});

Deno.test("totals are those of the seconds in which requests were answered, watched or not", () => {
  const { clock, live } = rig();
  clock.advance(1.2 * SECOND);
  const at = () => clock.now();
  live.onRequest(request(at()));
  live.onRequest(request(at(), { deadlineNs: at() - 1 }));
  live.onRequest(request(at(), { status: 7, cold: true }));
  clock.advance(5 * SECOND);
  live.onRequest(request(at(), { cold: true, arrivalCount: 1 }));
  const first = live.poll(0);
  const figures = first.seconds.map(({ p50Ns, p99Ns, ...totals }) => {
    assert.ok(Math.abs(p50Ns / (4 * MS) - 1) < 0.1 && p99Ns <= 4 * MS);
    return totals;
  });
  const shown = figures.map((totals) => {
    const { sequence: _, ...rest } = totals as typeof totals & { sequence: number };
    return rest;
  });
  assert.deepEqual(shown, [
    { second: 1, inTime: 1, late: 1, refused: 1, coldStarts: 1 },
    { second: 6, inTime: 1, late: 0, refused: 0, coldStarts: 0 },
  ]);
  // Only what has changed is told again.
  assert.deepEqual(live.poll(first.cursor).seconds, []);
  live.onRequest(request(at()));
  const [again, ...more] = live.poll(first.cursor).seconds;
  assert.deepEqual([again!.second, again!.inTime, more.length], [6, 2, 0]);
  // A cursor of another controller is none.
  assert.equal(live.poll(1e9).seconds.length, 2);
  live.close();
});

Deno.test("seconds are kept for some minutes", () => {
  const { clock, live } = rig();
  for (let i = 0; i < 2 * KEPT_SECONDS; i++) {
    live.onRequest(request(clock.now()));
    clock.advance(1 * SECOND);
  }
  const { seconds } = live.poll(0);
  assert.equal(seconds.length, KEPT_SECONDS - 1);
  assert.equal(seconds.at(-1)!.second, 2 * KEPT_SECONDS - 1);
  live.close();
});

Deno.test("actions and models are told of only while somebody asks", () => {
  const { clock, live } = rig();
  live.onSent(action(1));
  live.onAction(action(1));
  assert.equal(live.watched, false);
  const before = live.poll(0);
  assert.deepEqual(before.actions, []);
  live.onSent(action(2));
  live.onSent(action(3));
  live.onAction(action(2));
  live.onRequest(request(clock.now(), { modelId: 0 }));
  live.onRequest(request(clock.now(), { modelId: 2, status: 7 }));
  live.onRequest(request(clock.now(), { modelId: 1 }));
  const during = live.poll(before.cursor);
  assert.deepEqual(during.actions, [{
    actionId: 2,
    type: 2,
    workerId: 1,
    gpuId: 2,
    modelId: 5,
    batchSize: 3,
    plannedBeginNs: 7 * MS,
    plannedEndNs: 10 * MS,
    status: 0,
    beginNs: 8 * MS,
    endNs: 12 * MS,
  }]);
  assert.deepEqual(during.planned.map(({ actionId }) => actionId), [3]);
  assert.deepEqual(live.gpu(1, 2), { inFlight: 1, inferNs: 4 * MS, loadNs: 0 });
  assert.deepEqual(during.models.map(({ path, answered, inTime }) => [path, answered, inTime]), [
    ["path0", 2, 1],
    ["path1", 1, 1],
  ]);
  assert.deepEqual(live.poll(during.cursor).actions, []);
  clock.advance(11 * SECOND);
  assert.equal(live.watched, false);
  live.close();
});

Deno.test("what was sent before anybody watched is not missed in what is under way", () => {
  const { live } = rig();
  live.onSent(action(1));
  live.poll(0);
  live.onAction(action(1));
  assert.equal(live.gpu(1, 2).inFlight, 0);
  live.onSent(action(2));
  assert.equal(live.gpu(1, 2).inFlight, 1);
  live.close();
});

Deno.test("however much is under way, what is kept of it is bounded", () => {
  const recent = new RecentActions();
  for (let id = 0; id < 2 * KEPT_ACTIONS; id++) recent.sent(action(id));
  assert.equal(recent.planned(Infinity).length, KEPT_ACTIONS);
});

Deno.test("figures of models are those of the last half minute, or minute", () => {
  const { clock, live } = rig();
  live.poll(0);
  const answered = () => live.poll(0).models.reduce((sum, model) => sum + model.answered, 0);
  const wait = (ns: number) => {
    for (let passed = 0; passed < ns; passed += SECOND) {
      clock.advance(SECOND);
      live.poll(0);
    }
  };
  live.onRequest(request(clock.now()));
  wait(MODEL_PERIOD_NS);
  live.onRequest(request(clock.now()));
  assert.equal(answered(), 2);
  wait(MODEL_PERIOD_NS + SECOND);
  assert.equal(answered(), 1);
  wait(MODEL_PERIOD_NS + SECOND);
  assert.equal(answered(), 0);
  live.close();
});

Deno.test("failures that are alike and come together are one event", () => {
  const { clock, live } = rig();
  const failed = { status: 11, message: "too late" };
  for (let id = 0; id < 5; id++) live.onAction(action(id, failed));
  clock.advance(2 * SECOND);
  live.onAction(action(9, failed));
  live.note("worker 1", () => "Worker 1 has come");
  const { events, cursor } = live.poll(0);
  assert.deepEqual(events.map(({ atNs, count, message }) => [atNs, count, message]), [
    [0, 5, "W1-GPU2 Infer A0 of path1 (model 5): could not start in time: too late"],
    [2 * SECOND, 1, "W1-GPU2 Infer A9 of path1 (model 5): could not start in time: too late"],
    [2 * SECOND, 1, "Worker 1 has come"],
  ]);
  assert.deepEqual(live.poll(cursor).events, []);
  // One more of a kind that has been told is told again, with the new count.
  live.onAction(action(10, failed));
  assert.deepEqual(live.poll(cursor).events.map(({ count }) => count), [2]);
  for (let i = 0; i < 1000; i++) live.note(`${i}`, () => "x".repeat(10_000));
  const many = live.poll(cursor).events;
  assert.equal(many.length, 100);
  assert.ok(many.every(({ message }) => message.length <= 300));
  live.close();
});

Deno.test("a failure names the model as people do, and by its number where it is gone", () => {
  for (
    const [path, named] of [
      ["zoo/resnet50_v2/model", "resnet50_v2 (model 5)"],
      ["x".repeat(1000), `${"x".repeat(100)} (model 5)`],
      ["", "model 5"],
    ] as const
  ) {
    const live = new LiveState(new VirtualClock(), () => path);
    live.onAction(action(0, { status: 11, message: "too late" }));
    const [event] = live.poll(0).events;
    assert.equal(event!.message, `W1-GPU2 Infer A0 of ${named}: could not start in time: too late`);
    live.close();
  }
});

Deno.test("of many actions the newest are kept, and told since any moment", () => {
  fc.assert(
    fc.property(fc.nat(3 * KEPT_ACTIONS), fc.nat(3 * KEPT_ACTIONS), (count, cursor) => {
      const recent = new RecentActions();
      for (let id = 1; id <= count; id++) recent.ended(action(id), id);
      const limit = 1000;
      const first = Math.max(cursor, count - limit, 0) + 1;
      const expected = Array.from({ length: Math.max(0, count - first + 1) }, (_, i) => first + i);
      assert.deepEqual(recent.since(cursor, limit).map(({ actionId }) => actionId), expected);
    }),
    { numRuns: 20 },
  );
});
