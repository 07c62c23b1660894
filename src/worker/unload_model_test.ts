import assert from "node:assert/strict";
import { ActionStatus } from "../core/status.ts";
import { FakeBackend } from "./fake_backend.ts";
import { Rig } from "./test_rig.ts";

function unload(controller: ReturnType<Rig["connect"]>, model_id: number, no_of_copies = 1) {
  return controller.send("UnloadModel", { model_id, no_of_copies });
}

Deno.test("unloaded copies are unknown, their pages free, and their ids", () => {
  const rig = new Rig();
  const controller = rig.connect();
  controller.loadModel(0, "2/a", 3);
  for (const modelId of [0, 1, 2]) controller.loadWeights(modelId);
  rig.run();
  const id = unload(controller, 0, 2);
  rig.run();
  assert.equal(controller.status(id), 0);
  const [gpu] = rig.server.node.gpus;
  assert.deepEqual(gpu!.loadedModelIds(), [2], "the others' weights stay");
  assert.equal(gpu!.cache.usedPages, 2);
  assert.deepEqual(rig.server.node.registry.list().map((model) => model.id), [2]);
  const infer = controller.infer(0);
  const again = unload(controller, 0, 2);
  const reload = controller.loadModel(0, "3/b");
  rig.run();
  assert.equal(controller.status(infer), ActionStatus.unknownModel);
  assert.equal(controller.status(again), ActionStatus.unknownModel);
  assert.equal(controller.status(reload), 0);
});

Deno.test("host memory is freed once, with the last copy of a load", () => {
  let backend!: FakeBackend;
  const rig = new Rig({ backend: () => backend = new FakeBackend() });
  const controller = rig.connect();
  controller.loadModel(0, "2/a", 2);
  rig.run(0);
  unload(controller, 0);
  rig.run(0);
  assert.equal(backend.unloaded.length, 0);
  unload(controller, 0, 10);
  rig.run(0);
  assert.equal(backend.unloaded.length, 1);
});

Deno.test("weights in use stay until the inference has ended, and nothing new begins with them", () => {
  const rig = new Rig();
  const controller = rig.connect();
  controller.loadModel(0, "2/a", 2);
  controller.loadWeights(0);
  rig.run();
  const running = controller.infer(0);
  rig.run(1e6);
  const refused = unload(controller, 0, 2);
  const late = controller.infer(0);
  const load = controller.loadWeights(1);
  rig.run(0);
  assert.equal(controller.status(refused), ActionStatus.weightsInUse);
  rig.run();
  assert.equal(controller.status(running), 0);
  assert.equal(controller.status(late), ActionStatus.unknownModel);
  assert.equal(controller.status(load), ActionStatus.unknownModel);
  const id = unload(controller, 0, 2);
  rig.run();
  assert.equal(controller.status(id), 0);
  assert.equal(rig.server.node.registry.size, 0);
});

Deno.test("weights whose load waits when their model is unloaded are not loaded any more", () => {
  const rig = new Rig();
  const controller = rig.connect();
  controller.loadModel(0, "2/a");
  controller.loadModel(1, "2/b");
  rig.run();
  const first = controller.loadWeights(0);
  const second = controller.loadWeights(1);
  rig.run(1e6);
  const id = unload(controller, 1);
  rig.run();
  assert.equal(controller.status(first), 0);
  assert.equal(controller.status(second), ActionStatus.unknownModel);
  assert.equal(controller.status(id), 0);
});

Deno.test("weights that go with their GPU while they are unloaded do not keep their model", () => {
  let backend!: FakeBackend;
  const rig = new Rig({ backend: () => backend = new FakeBackend() });
  const controller = rig.connect();
  controller.loadModel(0, "2/a");
  rig.run(0);
  controller.loadWeights(0);
  rig.run(0);
  backend.loads[0]!.done({ beginNs: 0, endNs: 0 });
  const id = unload(controller, 0);
  rig.run(0);
  backend.events!.onLost(0, "driver reset");
  backend.evictions[0]!.done({ status: ActionStatus.runtimeError, message: "the GPU is lost" });
  rig.run(0);
  assert.equal(controller.status(id), 0);
  assert.equal(backend.unloaded.length, 1);
  assert.equal(rig.server.node.registry.size, 0);
});

Deno.test("an unload that waits behind a load of the same model undoes it", () => {
  const rig = new Rig();
  const controller = rig.connect();
  const load = controller.loadModel(0, "2/a");
  const weights = controller.loadWeights(0);
  const id = unload(controller, 0);
  rig.run();
  assert.equal(controller.status(load), 0);
  assert.equal(controller.status(weights), 0);
  assert.equal(controller.status(id), 0);
  assert.equal(rig.server.node.gpus[0]!.cache.usedPages, 0);
  assert.equal(rig.server.node.registry.size, 0);
});

Deno.test("a range without models, and a worker that ends meanwhile, are answered too", () => {
  const rig = new Rig();
  const controller = rig.connect();
  controller.loadModel(5, "2/a");
  controller.loadWeights(5);
  rig.run(1e6);
  const none = unload(controller, 0, 5);
  const waits = unload(controller, 5);
  rig.run(0);
  assert.equal(controller.status(none), ActionStatus.unknownModel);
  rig.server.close();
  rig.run(0);
  assert.equal(controller.status(waits), ActionStatus.shuttingDown);
});
