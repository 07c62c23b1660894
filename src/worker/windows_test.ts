import assert from "node:assert/strict";
import { ActionStatus } from "../core/status.ts";
import { Rig, type RigOptions, type TestController } from "./test_rig.ts";

const MS = 1e6;

/** A rig whose models 0 to 3 have their weights on GPU 0; time is 100 ms. */
function loadedRig(options: RigOptions = {}): { rig: Rig; controller: TestController } {
  const rig = new Rig(options);
  const controller = rig.connect();
  controller.loadModel(0, "1/m", 4);
  rig.run(0);
  for (let id = 0; id < 4; id++) controller.loadWeights(id);
  rig.clock.run(100 * MS);
  return { rig, controller };
}

Deno.test("an action waits for its earliest start, and starts exactly then", () => {
  const { rig, controller } = loadedRig();
  const id = controller.infer(0, 0, { earliest_ns: 105 * MS });
  rig.run();
  assert.deepEqual(controller.execSpan(id), [105 * MS, 108 * MS]);
});

Deno.test("an action that comes after its latest start is rejected at once", () => {
  const { rig, controller } = loadedRig();
  const before = controller.results.length;
  const infer = controller.infer(0, 0, { latest_ns: 99 * MS });
  const load = controller.loadWeights(0, 0, { latest_ns: 99 * MS });
  const evict = controller.evict(0, 0, { latest_ns: 99 * MS });
  const model = controller.loadModel(9, "1/m", 1, { latest_ns: 99 * MS });
  const onTime = controller.loadModel(10, "1/m", 1, { latest_ns: 100 * MS });
  rig.run(0);
  assert.equal(controller.results.length, before + 5);
  assert.equal(controller.status(onTime), 0);
  assert.equal(controller.status(infer), ActionStatus.execTooLate);
  assert.equal(controller.status(load), ActionStatus.loadWeightsTooLate);
  assert.equal(controller.status(evict), ActionStatus.evictTooLate);
  assert.equal(controller.status(model), ActionStatus.couldNotStartInTime);
});

Deno.test("a waiting action is rejected when its latest start passes, not when the GPU is free", () => {
  const { rig, controller } = loadedRig();
  const running = controller.infer(0);
  const onTime = controller.infer(0, 0, { latest_ns: 103 * MS });
  const late = controller.infer(1, 0, { latest_ns: 101 * MS });
  rig.run();
  assert.equal(controller.status(running), 0);
  // The latest start itself is still in time: the first inference ends just then.
  assert.deepEqual(controller.execSpan(onTime), [103 * MS, 106 * MS]);
  assert.equal(controller.status(late), ActionStatus.execTooLate);
  assert.equal(controller.result(late).atNs, 101 * MS + 1);
});

Deno.test("an action whose latest start a late clock has missed is not started", () => {
  const { rig, controller } = loadedRig({ workerLateNs: MS });
  controller.infer(0);
  // The first ends at 103, which the worker sees at 104; this one's time passes in between.
  const late = controller.infer(1, 0, { latest_ns: 103.5 * MS });
  rig.run();
  assert.equal(controller.status(late), ActionStatus.execTooLate);
});

Deno.test("actions start in the order of their earliest start, then of arrival", () => {
  const { rig, controller } = loadedRig();
  const first = controller.infer(0);
  const last = controller.infer(1, 0, { earliest_ns: 102 * MS });
  const second = controller.infer(2, 0, { earliest_ns: 101 * MS });
  const third = controller.infer(3, 0, { earliest_ns: 101 * MS });
  rig.run();
  const begins = [first, second, third, last].map((id) => controller.execSpan(id)[0]);
  assert.deepEqual(begins, [100 * MS, 103 * MS, 106 * MS, 109 * MS]);
});

Deno.test("an action that is not yet due does not hold back one that is", () => {
  const { rig, controller } = loadedRig();
  const later = controller.infer(0, 0, { earliest_ns: 150 * MS });
  const now = controller.infer(1);
  rig.run();
  assert.deepEqual(controller.execSpan(now), [100 * MS, 103 * MS]);
  assert.deepEqual(controller.execSpan(later), [150 * MS, 153 * MS]);
});

Deno.test("execution and transfers of a GPU overlap; transfers follow one another", () => {
  const { rig, controller } = loadedRig();
  controller.loadModel(10, "1/m", 2);
  rig.run(0);
  const loads = [controller.loadWeights(10), controller.loadWeights(11)];
  const infers = [0, 1, 2, 3].map((id) => controller.infer(id));
  rig.run();
  const [first, second] = loads.map((id) => controller.header(id, "LoadWeightsResult"));
  assert.deepEqual([first!.begin_ns, first!.end_ns], [100 * MS, 110 * MS]);
  assert.deepEqual([second!.begin_ns, second!.end_ns], [110 * MS, 120 * MS]);
  assert.deepEqual(controller.execSpan(infers[3]!), [109 * MS, 112 * MS]);
});

Deno.test("GPUs work side by side", () => {
  const rig = new Rig({ gpus: 2 });
  const controller = rig.connect();
  controller.loadModel(0, "1/m");
  rig.run(0);
  const loads = [controller.loadWeights(0, 0), controller.loadWeights(0, 1)];
  rig.run();
  for (const id of loads) assert.equal(controller.header(id, "LoadWeightsResult").begin_ns, 0);
});

Deno.test("an empty window is an invalid action", () => {
  const { rig, controller } = loadedRig();
  const window = { earliest_ns: 200 * MS, latest_ns: 199 * MS };
  const ids = [
    controller.infer(0, 0, window),
    controller.loadWeights(0, 0, window),
    controller.evict(0, 0, window),
    controller.loadModel(9, "1/m", 1, window),
  ];
  rig.run(0);
  for (const id of ids) assert.equal(controller.status(id), ActionStatus.invalidAction);
});

Deno.test("windows are understood in the controller's clock", () => {
  // The worker's clock is an hour ahead of the controller's; the network takes 1 ms.
  const offsetNs = 3600e9;
  const rig = new Rig({ workerOffsetNs: offsetNs });
  const controller = rig.connect(rig.clock, { latencyNs: 1 * MS });
  controller.loadModel(0, "1/m");
  rig.run(10 * MS);
  controller.loadWeights(0);
  rig.clock.run(100 * MS);
  const id = controller.infer(0, 0, { earliest_ns: 120 * MS, latest_ns: 121 * MS });
  const late = controller.infer(0, 0, { earliest_ns: 100 * MS, latest_ns: 100.5 * MS });
  rig.run();
  // Results are in the worker's clock.
  assert.deepEqual(controller.execSpan(id), [offsetNs + 120 * MS, offsetNs + 123 * MS]);
  assert.equal(controller.status(late), ActionStatus.execTooLate);
  assert.equal(controller.result(late).atNs, 102 * MS);
});

Deno.test("emulated times are exact, however late the clock wakes us", () => {
  const { rig, controller } = loadedRig({ workerLateNs: 200_000 });
  const first = controller.infer(0);
  const second = controller.infer(1);
  rig.run();
  assert.deepEqual(controller.execSpan(first), [100 * MS, 103 * MS]);
  assert.equal(controller.result(first).atNs, 103 * MS + 200_000);
  // The second began when it could really be begun.
  assert.deepEqual(controller.execSpan(second), [103 * MS + 200_000, 106 * MS + 200_000]);
});

Deno.test("what waits is limited, and the limit is named", () => {
  const { rig, controller } = loadedRig({ config: { max_queued_actions: 3 } });
  const ids = Array.from({ length: 6 }, () => controller.infer(0));
  rig.run();
  const statuses = ids.map((id) => controller.status(id));
  assert.deepEqual(statuses, [0, 0, 0, 0, ActionStatus.cancelled, ActionStatus.cancelled]);
  const { header } = controller.result(ids[4]!) as { header: { message: string } };
  assert.match(header.message, /GPU 0 execution already has 3 actions.*max_queued_actions/);
});

Deno.test("ten thousand waiting actions that expire together are rejected together", () => {
  const { rig, controller } = loadedRig();
  const running = controller.infer(0);
  const ids = Array.from({ length: 10_000 }, () => controller.infer(0, 0, { latest_ns: 102 * MS }));
  rig.run();
  assert.equal(controller.status(running), 0);
  const rejected = controller.results.filter(({ atNs }) => atNs === 102 * MS + 1);
  assert.equal(rejected.length, ids.length);
});
