/** Models that are unloaded while the controller serves. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../../core/clock.ts";
import type { Client } from "../../client/client.ts";
import type { Model } from "../../client/model.ts";
import { connectInMemory } from "../../wire/memory_link.ts";
import { TestController } from "../../worker/test_rig.ts";
import { Cluster, type Outcome, outcome, refusal, ScriptedWorker, status } from "../test_rig.ts";

function unload(client: Client, model: Model): Outcome<void> {
  return outcome<void>((done) => client.unloadModel(model, done));
}

Deno.test("an unloaded model is gone everywhere, and another takes its place", () => {
  const cluster = new Cluster();
  const workers = [cluster.addWorker({ pages: 4 }), cluster.addWorker({ pages: 4 })];
  const { client } = cluster.addClient();
  const [a, b] = cluster.serve(client, "4/a", "4/b");
  const before = [cluster.infer(client, a!), cluster.infer(client, b!)];
  cluster.run();
  assert.deepEqual(before.map(status), [0, 0]);
  const unloaded = unload(client, a!);
  cluster.run();
  assert.equal(status(unloaded), 0);
  for (const { server } of workers) {
    assert.deepEqual(server.node.registry.list().map(({ path }) => path), ["4/b"]);
  }
  const gone = cluster.infer(client, a!);
  const stays = cluster.infer(client, b!);
  cluster.run();
  assert.match(refusal(gone), /^6 unknown model 0/);
  assert.equal(status(stays), 0);
  const models = outcome<readonly Model[]>((done) => client.ls(done));
  const twice = unload(client, a!);
  const [c] = cluster.load(client, "4/c");
  cluster.run();
  assert.match(refusal(twice), /^6 model 0 is not loaded/);
  assert.ok(models.result?.ok && models.result.value.length === 1);
  const fresh = cluster.infer(client, c!);
  cluster.run();
  assert.equal(status(fresh), 0);
});

Deno.test("what waits or runs when a model is unloaded is served, what comes later is refused", () => {
  const cluster = new Cluster();
  cluster.addWorker();
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "2/a");
  const waiting = Array.from({ length: 10 }, () => cluster.infer(client, model!));
  const unloaded = unload(client, model!);
  const late = cluster.infer(client, model!);
  cluster.run();
  assert.deepEqual(waiting.map(status), new Array(10).fill(0));
  assert.equal(status(unloaded), 0);
  assert.equal(status(late), 6);
});

Deno.test("requests that wait too long for an unloaded model's end are refused", () => {
  const cluster = new Cluster();
  const worker = new ScriptedWorker(cluster.clock, ({ kind }) => kind === "LoadWeights");
  cluster.connectWorker(worker.accept);
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "2/a");
  const waiting = cluster.infer(client, model!, { deadlineNs: 3600 * SECOND });
  cluster.run();
  const unloaded = unload(client, model!);
  cluster.run(9 * SECOND);
  assert.equal(waiting.result, null);
  cluster.run(2 * SECOND);
  assert.match(refusal(waiting), /^6 model 0 has been unloaded/);
  assert.equal(status(unloaded), 0);
});

Deno.test("a worker that still uses the weights is asked again, and what it cannot do is told", () => {
  for (const [answers, expected] of [[[22, 22, 0], "0"], [[22, 2], "1 worker 0: no"]] as const) {
    const cluster = new Cluster();
    const left: number[] = [...answers];
    const worker = new ScriptedWorker(cluster.clock, ({ kind }, answer) => {
      if (kind !== "UnloadModel") return false;
      const status = left.shift()!;
      if (status === 0) return false;
      answer("ErrorResult", { action_type: 6, status, message: "no" });
      return true;
    });
    cluster.connectWorker(worker.accept);
    const { client } = cluster.addClient();
    const [model] = cluster.serve(client, "2/a");
    const unloaded = unload(client, model!);
    cluster.run();
    assert.equal(expected === "0" ? `${status(unloaded)}` : refusal(unloaded), expected);
    assert.deepEqual(left, []);
  }
});

Deno.test("a worker that is lost while it unloads a model has it no more", () => {
  const cluster = new Cluster();
  const worker = new ScriptedWorker(cluster.clock, ({ kind }) => kind === "UnloadModel");
  const link = cluster.connectWorker(worker.accept);
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "2/a");
  const unloaded = unload(client, model!);
  cluster.run();
  assert.equal(unloaded.result, null);
  link.cut();
  cluster.run();
  assert.equal(status(unloaded), 0);
});

Deno.test("of several copies one can go, and a worker that was away forgets it too", () => {
  const cluster = new Cluster();
  const away = cluster.addWorker();
  cluster.addWorker();
  const { client } = cluster.addClient();
  cluster.serve(client, "2/a");
  const copies = cluster.load(client, "2/b", 3);
  cluster.run();
  away.link.cut();
  cluster.run(10 * MS);
  const unloaded = unload(client, copies[1]!);
  cluster.run();
  assert.equal(status(unloaded), 0);
  cluster.connectWorker(away.server.accept);
  cluster.run();
  assert.deepEqual(away.server.node.registry.list().map(({ id }) => id), [0, 1, 3]);
  const rest = [copies[0]!, copies[2]!].map((model) => cluster.infer(client, model));
  cluster.run();
  assert.deepEqual(rest.map(status), [0, 0]);
});

Deno.test("a copy that is unloaded while a newcomer is given the model does not come back", () => {
  const cluster = new Cluster();
  const first = cluster.addWorker();
  const { client } = cluster.addClient();
  cluster.serve(client, "2/x");
  const copies = cluster.load(client, "2/b", 3);
  cluster.run();
  const newcomer = cluster.addWorker({ link: { latencyNs: 20 * MS } });
  cluster.run(55 * MS);
  const unloaded = unload(client, copies[1]!);
  cluster.run();
  assert.equal(status(unloaded), 0);
  assert.deepEqual(newcomer.server.node.registry.list().map(({ id }) => id), [0, 1, 3]);
  first.link.cut();
  cluster.run(100 * MS);
  const outcomes = copies.map((model) => cluster.infer(client, model, { deadlineNs: SECOND }));
  cluster.run();
  assert.deepEqual(outcomes.map(status), [0, 6, 0]);
});

Deno.test("models that are unloaded and loaded for a long time take no more room in the end", () => {
  const cluster = new Cluster({ maxModels: 2 });
  const { server } = cluster.addWorker({ pages: 2 });
  const { client } = cluster.addClient();
  let [model] = cluster.serve(client, "2/0");
  for (let i = 1; i < 50; i++) {
    const answered = cluster.infer(client, model!);
    cluster.run(100 * MS);
    assert.equal(status(answered), 0);
    const unloaded = unload(client, model!);
    cluster.run(100 * MS);
    assert.equal(status(unloaded), 0);
    [model] = cluster.load(client, `2/${i}`);
  }
  assert.equal(server.node.registry.size, 1);
});

Deno.test("a worker that has too much waiting is asked again to forget a model", () => {
  const cluster = new Cluster();
  const worker = cluster.addWorker({ config: { max_queued_actions: 1 } });
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "2/a");
  const other = new TestController(cluster.clock, cluster.clock);
  connectInMemory(
    { name: "another controller", clock: cluster.clock, accept: other.accept },
    { name: "worker", clock: cluster.clock, accept: worker.server.accept },
    {},
  );
  other.loadModel(1000, "2/b");
  cluster.run(10 * MS);
  other.loadWeights(1000, 0, { earliest_ns: cluster.clock.now() + 500 * MS });
  cluster.run(10 * MS);
  const unloaded = unload(client, model!);
  cluster.run(100 * MS);
  assert.equal(unloaded.result, null, "there is no room for it in the queue");
  cluster.run();
  assert.equal(status(unloaded), 0);
  assert.deepEqual(worker.server.node.registry.list().map(({ id }) => id), [1000]);
});
