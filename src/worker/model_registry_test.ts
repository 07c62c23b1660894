import assert from "node:assert/strict";
import { ActionStatus } from "../core/status.ts";
import type { ModelFacts, Signature } from "../wire/messages.ts";
import { ModelRegistry } from "./model_registry.ts";
import { makeModel } from "./test_rig.ts";

const MODEL = makeModel("1/m", 1);
const FACTS: ModelFacts = {
  input_size: 12,
  output_size: 8,
  weights_size: 999,
  num_weights_pages: 1,
  weights_load_time_ns: 10e6,
  supported_batch_sizes: [1],
  exec_times_ns: [3e6],
};
const NONE: Signature = { inputs: [], outputs: [] };
/** What the longest names of as many tensors as there may be take, in a message of some 28 MB. */
const LARGE: Signature = {
  inputs: Array.from({ length: 256 }, (_, i) => ({
    name: `${i}`.padEnd(256),
    datatype: "FP32",
    shape: [1],
  })),
  outputs: [],
};

Deno.test("what models take in a message of the worker's state is limited, and given back", () => {
  const registry = new ModelRegistry(1_000_000);
  const path = "x".repeat(4096);
  assert.equal(registry.refusal(0, 6000, path), null);
  assert.equal(registry.refusal(0, 7000, path)?.status, ActionStatus.cancelled);
  for (let i = 0; i < 1000; i++) {
    assert.equal(registry.refusal(0, 2, path), null, `${i}`);
    registry.add(0, 2, path, MODEL, FACTS, LARGE);
    const [first, second] = registry.list();
    assert.equal(registry.remove(first!), false);
    assert.equal(registry.remove(second!), true, "the last of its load");
    assert.equal(registry.remove(second!), false, "twice");
  }
  assert.equal(registry.refusal(0, 6000, path), null, "nothing is left");
});

Deno.test("signatures that are equal are told once", () => {
  const registry = new ModelRegistry(10);
  registry.add(3, 2, "a", MODEL, FACTS, LARGE);
  registry.add(0, 1, "b", MODEL, FACTS, NONE);
  registry.add(7, 1, "c", MODEL, FACTS, structuredClone(LARGE));
  const { models, signatures } = registry.state();
  assert.deepEqual(models.map(({ model_id, signature }) => [model_id, signature]), [
    [0, 0],
    [3, 1],
    [4, 1],
    [7, 1],
  ]);
  assert.deepEqual(signatures, [NONE, LARGE]);
});

Deno.test("ids are 32 bits, and each is for one model", () => {
  const registry = new ModelRegistry(10);
  assert.equal(registry.refusal(0xffff_fffe, 2, "a"), null);
  assert.equal(registry.refusal(0xffff_fffe, 3, "a")?.status, ActionStatus.invalidModelId);
  registry.add(5, 1, "a", MODEL, FACTS, NONE);
  assert.match(registry.refusal(4, 2, "b")!.message, /^model id 5 is taken by a;/);
  assert.equal(registry.refusal(6, 9, "b"), null);
  assert.equal(registry.refusal(6, 10, "b")?.status, ActionStatus.cancelled);
});

Deno.test("the uploads of which there are models are told, whatever their paths", () => {
  const registry = new ModelRegistry(10);
  const upload = "uploads/net/0123456789abcdef";
  const paths = [upload, `/data/${upload}/model.onnx`, "uploads/b/fedcba9876543210/model", "c/d"];
  paths.forEach((path, id) => registry.add(id, 1, path, MODEL, FACTS, NONE));
  assert.deepEqual([...registry.uploads()], [upload, "uploads/b/fedcba9876543210"]);
});
