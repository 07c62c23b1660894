import assert from "node:assert/strict";
import { ActionStatus } from "../core/status.ts";
import type { Failure, Span } from "./backend.ts";
import { FakeBackend } from "./fake_backend.ts";
import { PAGE_BYTES, Rig, type TestController } from "./test_rig.ts";

const SPAN: Span = { beginNs: 0, endNs: 1 };
const FAILURE: Failure = { status: ActionStatus.runtimeError, message: "out of order" };

function usedPages(rig: Rig): number {
  return rig.server.node.gpus[0]!.cache.usedPages;
}

function loadedModels(rig: Rig): readonly number[] {
  return rig.server.node.state().gpus[0]!.models;
}

Deno.test("each copy takes its own pages, in whole pages", () => {
  const rig = new Rig({ pages: 10 });
  const controller = rig.connect();
  controller.loadModel(0, "3/m", 4);
  rig.run(0);
  const ids = [0, 1, 2, 3].map((model) => controller.loadWeights(model));
  rig.run(5e6);
  // Pages are taken when the transfer starts.
  assert.equal(usedPages(rig), 3);
  rig.run();
  const statuses = ids.map((id) => controller.status(id));
  assert.deepEqual(statuses, [0, 0, 0, ActionStatus.loadWeightsInsufficientCache]);
  assert.equal(usedPages(rig), 9);
  const evict = controller.evict(1);
  const again = controller.loadWeights(3);
  rig.run();
  assert.equal(controller.status(evict), 0);
  assert.equal(controller.status(again), 0);
  assert.deepEqual(loadedModels(rig), [0, 2, 3]);
  assert.equal(usedPages(rig), 9);
});

Deno.test("the last page is used too, and a device's memory limits its pages", () => {
  const backend = new FakeBackend(1, 2.5 * PAGE_BYTES);
  const rig = new Rig({ pages: 10, backend: () => backend });
  assert.equal(rig.server.node.state().gpus[0]!.weights_cache_pages, 2);
  const controller = rig.connect();
  controller.loadModel(0, "2/m");
  rig.run(0);
  const load = controller.loadWeights(0);
  rig.run(0);
  backend.loads[0]!.done(SPAN);
  rig.run(0);
  assert.equal(controller.status(load), 0);
});

Deno.test("loading twice, evicting twice and inferring without weights are told apart", () => {
  const rig = new Rig();
  const controller = rig.connect();
  controller.loadModel(0, "1/m");
  rig.run(0);
  const absent = controller.infer(0);
  const notThere = controller.evict(0);
  const load = controller.loadWeights(0);
  const early = controller.infer(0);
  const twice = controller.loadWeights(0);
  rig.run();
  assert.equal(controller.status(absent), ActionStatus.weightsNotPresent);
  assert.equal(controller.status(notThere), ActionStatus.evictNotInCache);
  assert.equal(controller.status(load), 0);
  assert.equal(controller.status(early), ActionStatus.weightsNotPresent);
  assert.equal(controller.status(twice), ActionStatus.weightsAlreadyLoaded);
});

Deno.test("weights are not evicted while an inference uses them", () => {
  const rig = new Rig();
  const controller = rig.connect();
  controller.loadModel(0, "1/m", 2);
  rig.run(0);
  controller.loadWeights(0);
  controller.loadWeights(1);
  rig.run();
  const infer = controller.infer(0);
  const refused = controller.evict(0);
  const other = controller.evict(1);
  rig.run(0);
  assert.equal(controller.status(refused), ActionStatus.weightsInUse);
  assert.equal(controller.status(other), 0);
  rig.run();
  assert.equal(controller.status(infer), 0);
  const evict = controller.evict(0);
  rig.run();
  assert.equal(controller.status(evict), 0);
  assert.equal(usedPages(rig), 0);
});

Deno.test("ClearCache evicts all but what is in use, on every GPU", () => {
  const rig = new Rig({ gpus: 2 });
  const controller = rig.connect();
  controller.loadModel(0, "1/m", 3);
  rig.run(0);
  for (const model of [0, 1, 2]) {
    controller.loadWeights(model, 0);
    controller.loadWeights(model, 1);
  }
  rig.run();
  controller.infer(1, 1);
  const partly = controller.send("ClearCache", {});
  rig.run(0);
  assert.equal(controller.status(partly), ActionStatus.weightsInUse);
  const models = () => rig.server.node.state().gpus.map((gpu) => gpu.models);
  assert.deepEqual(models(), [[], [1]]);
  rig.run();
  const all = controller.send("ClearCache", {});
  rig.run(0);
  assert.equal(controller.status(all), 0);
  assert.deepEqual(models(), [[], []]);
});

Deno.test("ClearCache comes after the transfer that runs, and takes that too", () => {
  const rig = new Rig();
  const controller = rig.connect();
  controller.loadModel(0, "1/m");
  rig.run(0);
  const load = controller.loadWeights(0);
  const clear = controller.send("ClearCache", {});
  rig.run();
  assert.equal(controller.status(load), 0);
  assert.equal(controller.status(clear), 0);
  assert.equal(usedPages(rig), 0);
});

function fakeRig(): { rig: Rig; backend: FakeBackend; controller: TestController } {
  const backend = new FakeBackend();
  const rig = new Rig({ backend: () => backend });
  const controller = rig.connect();
  controller.loadModel(0, "2/m", 2);
  rig.run(0);
  return { rig, backend, controller };
}

Deno.test("a load that fails gives its pages back, and the next can have them", () => {
  const { rig, backend, controller } = fakeRig();
  const failed = controller.loadWeights(0);
  const next = controller.loadWeights(0);
  rig.run(0);
  backend.loads[0]!.done(FAILURE);
  rig.run(0);
  assert.equal(controller.status(failed), ActionStatus.runtimeError);
  backend.loads[1]!.done(SPAN);
  rig.run(0);
  assert.equal(controller.status(next), 0);
  assert.equal(usedPages(rig), 2);
});

Deno.test("a stale error does not unload a fresh copy", () => {
  const { rig, backend, controller } = fakeRig();
  const first = controller.loadWeights(0);
  rig.run(0);
  backend.loads[0]!.done(FAILURE);
  const second = controller.loadWeights(0);
  rig.run(0);
  backend.loads[1]!.done(SPAN);
  // The backend reports the failure of the first load once more, and then that it went well after all.
  backend.loads[0]!.done(FAILURE);
  backend.loads[0]!.done(SPAN);
  rig.run(0);
  assert.equal(controller.status(first), ActionStatus.runtimeError);
  assert.equal(controller.status(second), 0);
  assert.deepEqual(loadedModels(rig), [0]);
  assert.equal(usedPages(rig), 2);
});

Deno.test("an eviction that fails is an error like any other, and keeps the pages", () => {
  const { rig, backend, controller } = fakeRig();
  controller.loadWeights(0);
  rig.run(0);
  backend.loads[0]!.done(SPAN);
  const failed = controller.evict(0);
  rig.run(0);
  backend.evictions[0]!.done(FAILURE);
  backend.evictions[0]!.done(SPAN);
  rig.run(0);
  assert.equal(controller.status(failed), ActionStatus.runtimeError);
  assert.equal(usedPages(rig), 2);
  const cleared = controller.send("ClearCache", {});
  rig.run(0);
  backend.evictions[1]!.done(FAILURE);
  rig.run(0);
  assert.equal(controller.status(cleared), ActionStatus.runtimeError);
  assert.equal(usedPages(rig), 2);
  const evict = controller.evict(0);
  rig.run(0);
  backend.evictions[2]!.done(SPAN);
  rig.run(0);
  assert.equal(controller.status(evict), 0);
  assert.equal(usedPages(rig), 0);
});

Deno.test("weights on their way in or out cannot be used, loaded or evicted", () => {
  const { rig, backend, controller } = fakeRig();
  controller.loadWeights(0);
  rig.run(0);
  const early = controller.infer(0);
  rig.run(0);
  backend.loads[0]!.done(SPAN);
  controller.evict(0);
  rig.run(0);
  const late = controller.infer(0);
  rig.run(0);
  assert.equal(controller.status(early), ActionStatus.weightsNotPresent);
  assert.equal(controller.status(late), ActionStatus.weightsNotPresent);
  assert.equal(backend.infers.length, 0);
});

Deno.test("a backend that throws fails its action and holds up nothing", () => {
  const { rig, backend, controller } = fakeRig();
  controller.loadWeights(1);
  rig.run(0);
  backend.loads[0]!.done(SPAN);
  backend.error = new Error("no device");
  const ids = [
    controller.loadWeights(0),
    controller.infer(1),
    controller.evict(1),
    controller.loadModel(5, "1/m"),
  ];
  rig.run(0);
  for (const id of ids) assert.equal(controller.status(id), ActionStatus.runtimeError);
  backend.error = null;
  assert.equal(usedPages(rig), 2);
  const infer = controller.infer(1);
  const load = controller.loadWeights(0);
  rig.run(0);
  assert.equal(backend.infers.length, 1);
  backend.infers[0]!.done(FAILURE);
  backend.loads[1]!.done(SPAN);
  const evict = controller.evict(1);
  rig.run(0);
  assert.equal(controller.status(infer), ActionStatus.runtimeError);
  assert.equal(controller.status(load), 0);
  backend.evictions[0]!.done(SPAN);
  rig.run(0);
  assert.equal(controller.status(evict), 0);
});
