import assert from "node:assert/strict";
import { RESNET50 } from "../test_cluster.ts";
import { Model, type Runs } from "./state.ts";

Deno.test("what was measured of a model on a worker is kept as long as the worker has it", () => {
  const runsOn = (...workerIds: number[]): Runs => ({
    specs: new Map(workerIds.map((workerId) => [workerId, RESNET50])),
    execFloorNs: RESNET50.execNs[0]!,
    loadFloorNs: RESNET50.loadWeightsNs,
  });
  const model = new Model(0, runsOn(1, 2));
  const [first, second] = [model.estimatesOn(1), model.estimatesOn(2)];
  model.runs = runsOn(2, 3);
  assert.equal(model.estimatesOn(2), second);
  model.runs = runsOn(1, 2, 3);
  assert.notEqual(model.estimatesOn(1), first);
});
