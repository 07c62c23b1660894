/** Nodes that are told to stop finish what they have, and others take over the rest. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import type { Model } from "../client/model.ts";
import { Cluster, outcome, refusal, status } from "./test_rig.ts";

Deno.test("a controller that drains serves what it has taken, and takes nothing more", () => {
  const cluster = new Cluster();
  cluster.addWorker();
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "2/a");
  const taken = Array.from({ length: 10 }, () => cluster.infer(client, model!));
  const loading = outcome<readonly Model[]>((done) => client.loadModel("2/b", 1, done));
  cluster.run(60_000);
  const { controller } = cluster;
  assert.equal(controller.pending, 11);
  controller.drain("the controller is shutting down");
  const late = cluster.infer(client, model!);
  const load = outcome<readonly Model[]>((done) => client.loadModel("2/c", 1, done));
  const unload = outcome<void>((done) => client.unloadModel(model!, done));
  cluster.run();
  assert.deepEqual([...taken, loading].map(status), new Array(11).fill(0));
  for (const refused of [late, load, unload]) {
    assert.equal(refusal(refused), "10 the controller is shutting down");
  }
  assert.equal(controller.pending, 0);
});

Deno.test("a worker that drains ends what it has, and the other serves the rest in time", () => {
  const cluster = new Cluster();
  const leaving = cluster.addWorker();
  cluster.addWorker();
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "2/a");
  const outcomes = [cluster.infer(client, model!)];
  cluster.run();
  for (let i = 0; i < 1000; i++) {
    outcomes.push(cluster.infer(client, model!));
    if (i === 500) leaving.server.drain();
    // It is gone as soon as it has nothing left.
    if (i > 500 && leaving.server.pending === 0) leaving.server.close();
    cluster.run(2 * MS);
  }
  cluster.run(SECOND);
  assert.deepEqual(new Set(outcomes.map(status)), new Set([0]));
});

Deno.test("while the only worker drains, its requests are answered and the controller does not spin", () => {
  const cluster = new Cluster();
  const worker = cluster.addWorker();
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "2/a");
  cluster.infer(client, model!);
  cluster.run();
  const planned = Array.from({ length: 4 }, () => cluster.infer(client, model!));
  cluster.run(2 * MS);
  worker.server.drain();
  const late = cluster.infer(client, model!);
  const before = cluster.actions.length;
  cluster.run();
  assert.deepEqual(planned.map(status), [0, 0, 0, 0]);
  assert.notEqual(status(late), 0);
  assert.ok(cluster.actions.length - before < 100, `${cluster.actions.length - before} actions`);
});
