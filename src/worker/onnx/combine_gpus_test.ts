import assert from "node:assert/strict";
import { isFailure } from "../backend.ts";
import { combineGpus } from "./combine_gpus.ts";
import type { LoadedOnGpu } from "./profiles.ts";

function loaded(name: string, changes: Partial<LoadedOnGpu["reply"]>): LoadedOnGpu {
  const tensor = { dtype: "float32", shape: [4], batched: true, bytes: 16 } as const;
  const reply: LoadedOnGpu["reply"] = {
    inputs: [{ name: "x", ...tensor }, { name: "z", ...tensor }],
    outputs: [{ name: "y", ...tensor }],
    weightsBytes: 100,
    halfPrecision: false,
    pagedBytes: 0,
    batchSizes: [1, 2, 4],
    execMs: [1, 1.5, 2],
    loadWeightsMs: 3,
    measured: true,
    dataSha256: null,
    shapes: {},
    notes: [],
    ...changes,
  };
  const info = {
    kind: "dawn",
    name,
    profileKey: name,
    software: false,
    weightsCacheBytes: 1,
    runtime: "test",
  } as const;
  const source = {
    path: "/m",
    maxBytes: 1,
    realDirs: null,
    shapes: {},
    generalShapes: {},
    fill: {},
  };
  const request = { modelId: 1, source, batchSizes: [1], maxExecMs: 1, known: null, budgetMs: 1 };
  return { info, request, reply, check: null, changed: false };
}

Deno.test("a model offers the batch sizes of all its GPUs, with each one's own times", () => {
  const model = combineGpus("/m/model.onnx", [
    loaded("a", { pagedBytes: 128, notes: ["slow"] }),
    loaded("b", { batchSizes: [1, 4], execMs: [5, 7], pagedBytes: 256 }),
  ]);
  assert.ok(!isFailure(model));
  assert.deepEqual(model.batchSizes, [1, 4]);
  assert.deepEqual(model.profiles, [
    { loadWeightsNs: 3e6, execNs: [1e6, 2e6] },
    { loadWeightsNs: 3e6, execNs: [5e6, 7e6] },
  ]);
  assert.equal(model.inputBytes, 32);
  assert.equal(model.outputBytes, 16);
  assert.equal(model.pagedBytes, 256);
  assert.deepEqual(model.notes, ["GPU 0: slow"]);
});

Deno.test("with one GPU, notes do not say which; without pages, there are none", () => {
  const model = combineGpus("/m/model.onnx", [loaded("a", { notes: ["slow"] })]);
  assert.ok(!isFailure(model));
  assert.deepEqual(model.notes, ["slow"]);
  assert.equal("pagedBytes" in model, false);
});

Deno.test("GPUs that disagree about the tensors refuse the model", () => {
  const model = combineGpus("/m/model.onnx", [loaded("a", {}), loaded("b", { outputs: [] })]);
  assert.ok(isFailure(model));
  assert.match(model.message, /its tensors have other shapes on b than on a/);
});
