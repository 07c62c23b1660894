/** How long a controller waits for a worker to tell its state and to empty its caches. */
import assert from "node:assert/strict";
import { SECOND } from "../core/clock.ts";
import { ActionStatus } from "../core/status.ts";
import { Cluster, FACTS, ScriptedWorker, SIGNATURE } from "./test_rig.ts";

/** A cluster of another worker and one that has a model from before, and is slow in both. */
function started(tellsAfterNs: number, timesBusy: number) {
  const cluster = new Cluster();
  const worker = new ScriptedWorker(cluster.clock, (action, answer) => {
    if (action.kind === "GetWorkerState") {
      const models = [{ ...FACTS, model_id: 0, model_path: "1/old", signature: 0 }];
      const state = { page_size: 1, gpus: [], signatures: [SIGNATURE], models };
      worker.after(tellsAfterNs, () => answer("GetWorkerStateResult", state));
      return true;
    }
    if (action.kind !== "ClearCache" || timesBusy-- <= 0) return false;
    const status = ActionStatus.weightsInUse;
    answer("ErrorResult", { action_type: 4, status, message: "weights are in use" });
    return true;
  });
  const link = cluster.connectWorker(worker.accept);
  cluster.addWorker();
  cluster.controller.start();
  const awaiting = "(Startup-3) Awaiting LoadModel requests from clients";
  return { cluster, link, awaits: () => cluster.lines.includes(awaiting) };
}

const BUSY = "Worker 0 has not emptied its caches yet: weights are in use";

Deno.test("start-up does not wait for ever for a worker that does not tell its state", () => {
  const { cluster, awaits } = started(3600 * SECOND, 0);
  cluster.run(9 * SECOND);
  assert.ok(!awaits());
  cluster.run(2 * SECOND);
  assert.ok(awaits());
  const lost = "Worker 0 (worker) lost: it has not told its state within 10 s";
  assert.ok(cluster.lines.includes(lost), cluster.lines.join("\n"));
});

Deno.test("nor for one that keeps weights on its GPUs, which is said once", () => {
  const { cluster, awaits } = started(SECOND, Infinity);
  cluster.run(60 * SECOND);
  assert.ok(!awaits());
  assert.equal(cluster.lines.filter((line) => line === BUSY).length, 1);
  cluster.run(2 * SECOND);
  assert.ok(awaits());
  const lost = "it has not emptied its caches within 60 s: weights are in use";
  assert.ok(cluster.lines.includes(`Worker 0 (worker) lost: ${lost}`), cluster.lines.join("\n"));
});

Deno.test("nor for one that is lost meanwhile, of which no more is said", () => {
  const { cluster, link, awaits } = started(SECOND, Infinity);
  cluster.run(5 * SECOND);
  link.cut();
  cluster.run(SECOND);
  assert.ok(awaits());
  const { length } = cluster.lines;
  cluster.run(100 * SECOND);
  assert.equal(cluster.lines.length, length);
  assert.equal(cluster.lines.filter((line) => line.includes("has not emptied")).length, 1);
});

Deno.test("a worker that has no models is not asked to empty its caches", () => {
  const cluster = new Cluster();
  const worker = new ScriptedWorker(cluster.clock, () => false);
  cluster.connectWorker(worker.accept);
  cluster.controller.start();
  cluster.run(SECOND);
  assert.deepEqual(worker.actions.map(({ kind }) => kind), ["GetWorkerState"]);
});

Deno.test("a worker that takes its time, but less than that, is one of those that serve", () => {
  const { cluster, awaits } = started(9 * SECOND, 500);
  cluster.run(58 * SECOND);
  assert.ok(!awaits());
  cluster.run(100 * SECOND);
  assert.ok(awaits());
  assert.equal(cluster.controller.workers, 2);
});
