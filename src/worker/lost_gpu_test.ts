/** What becomes of actions when the device has less memory than promised, or is gone. */
import assert from "node:assert/strict";
import { ActionStatus } from "../core/status.ts";
import type { Failure } from "./backend.ts";
import { FakeBackend } from "./fake_backend.ts";
import { Rig } from "./test_rig.ts";

const SPAN = { beginNs: 0, endNs: 1 };
const NO_MEMORY: Failure = {
  status: ActionStatus.loadWeightsInsufficientCache,
  message: "the device has no memory left",
};
const GONE: Failure = { status: ActionStatus.runtimeError, message: "the GPU is lost" };

Deno.test("a device that has no room lowers what is promised, and what fits still works", () => {
  const backend = new FakeBackend();
  const rig = new Rig({ pages: 10, backend: () => backend });
  const controller = rig.connect();
  controller.loadModel(0, "3/m", 3);
  rig.run(0);
  const first = controller.loadWeights(0);
  const second = controller.loadWeights(1);
  rig.run();
  backend.loads[0]!.done(SPAN);
  rig.run();
  backend.loads[1]!.done(NO_MEMORY);
  rig.run();
  assert.equal(controller.status(first), 0);
  assert.equal(controller.status(second), ActionStatus.loadWeightsInsufficientCache);
  // Three pages are in use, and three more did not fit: five is the most that there can be.
  const gpu = rig.server.node.state().gpus[0]!;
  assert.equal(gpu.weights_cache_pages, 5);
  assert.deepEqual(gpu.models, [0]);
  const third = controller.loadWeights(2);
  rig.run();
  assert.equal(controller.status(third), ActionStatus.loadWeightsInsufficientCache);
  assert.equal(backend.loads.length, 2, "the device is not asked again");
  const evicted = controller.evict(0);
  rig.run();
  backend.evictions[0]!.done(SPAN);
  const fits = controller.loadWeights(2);
  rig.run();
  backend.loads[2]!.done(SPAN);
  rig.run();
  assert.deepEqual([controller.status(evicted), controller.status(fits)], [0, 0]);
});

Deno.test("weights on their way to a GPU when it is lost fail, and take no pages", () => {
  const backend = new FakeBackend();
  const rig = new Rig({ backend: () => backend });
  const controller = rig.connect();
  controller.loadModel(0, "3/m", 2);
  rig.run(0);
  const lost = controller.loadWeights(0);
  rig.run(0);
  backend.events!.onLost(0, "driver reset");
  backend.events!.onRestored(0);
  backend.loads[0]!.done(GONE);
  rig.run(0);
  assert.equal(controller.status(lost), ActionStatus.runtimeError);
  const again = controller.loadWeights(0);
  rig.run(0);
  backend.loads[1]!.done(SPAN);
  rig.run(0);
  assert.equal(controller.status(again), 0);
  assert.equal(rig.server.node.gpus[0]!.cache.usedPages, 3);
});

Deno.test("a lost GPU fails its actions with status 2, has no weights, and serves when it is back", () => {
  const backend = new FakeBackend(2);
  const rig = new Rig({ backend: () => backend });
  const controller = rig.connect();
  controller.loadModel(0, "1/m");
  rig.run(0);
  for (const gpu of [0, 1]) controller.loadWeights(0, gpu);
  rig.run();
  backend.loads[0]!.done(SPAN);
  backend.loads[1]!.done(SPAN);
  rig.run();
  const running = controller.infer(0);
  rig.run();
  backend.events!.onLost(0, "driver reset");
  backend.infers[0]!.done(GONE);
  const after = [controller.infer(0), controller.loadWeights(0), controller.evict(0)];
  const neighbour = controller.infer(0, 1);
  rig.run();
  backend.infers[1]!.done(GONE);
  rig.run();
  for (const id of [running, ...after]) {
    assert.equal(controller.status(id), ActionStatus.runtimeError);
  }
  assert.equal(backend.infers[1]!.copyId, 0, "the other GPU works");
  assert.equal(controller.status(neighbour), ActionStatus.runtimeError);
  assert.deepEqual(rig.server.node.state().gpus.map(({ models }) => models), [[], [0]]);
  assert.equal(rig.server.node.gpus[0]!.cache.usedPages, 0);
  assert.match(rig.lines.join("\n"), /GPU 0 is lost: driver reset/);

  backend.events!.onRestored(0);
  const without = controller.infer(0);
  const load = controller.loadWeights(0);
  rig.run();
  backend.loads[2]!.done(SPAN);
  const served = controller.infer(0);
  rig.run();
  assert.equal(controller.status(without), ActionStatus.weightsNotPresent);
  assert.equal(controller.status(load), 0);
  assert.equal(backend.infers.length, 3, "the last one runs");
  assert.equal(controller.results.filter(({ id }) => id === served).length, 0);
  assert.match(rig.lines.join("\n"), /GPU 0 is back/);
});
