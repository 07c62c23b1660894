import assert from "node:assert/strict";
import { MS, SECOND } from "../../core/clock.ts";
import type { Catalogue } from "../../client/catalogue.ts";
import type { Client } from "../../client/client.ts";
import type { Model } from "../../client/model.ts";
import { ModelCatalogue } from "./catalogue.ts";
import { ModelGroups } from "./groups.ts";
import { Cluster, FACTS, outcome, SIGNATURE, status, value } from "../test_rig.ts";

function describe(cluster: Cluster, client: Client, revision: number | null = null) {
  const described = outcome<Catalogue | null>((done) => client.describeModels(revision, done));
  cluster.run(10 * MS);
  return value(described);
}

/** What is told of the models, in short. */
function shown(catalogue: Catalogue | null): string[] {
  return catalogue!.models.map(({ id, copies, path, status }) =>
    `${id}+${copies} ${path} ${status}`
  );
}

Deno.test("a client learns of tensors, times and states, and of changes only", () => {
  const cluster = new Cluster();
  const worker = cluster.addWorker();
  const { client } = cluster.addClient();
  cluster.controller.start();
  cluster.run(10 * MS);
  assert.equal(describe(cluster, client)!.state, "initializing");

  const models = cluster.load(client, "2/a", 3);
  cluster.run(2 * SECOND);
  const first = describe(cluster, client)!;
  assert.equal(first.state, "serving");
  assert.equal(first.defaultSloNs, 100 * MS);
  assert.deepEqual(first.models, [{
    id: 0,
    copies: 3,
    path: "2/a",
    status: "ready",
    inputs: [{ name: "x", datatype: "FP32", shape: [3], batched: true, bytes: 12 }],
    outputs: [{ name: "y", datatype: "FP32", shape: [2], batched: true, bytes: 8 }],
    inputBytes: 12,
    outputBytes: 8,
    weightsBytes: 1999,
    weightsPages: 2,
    loadWeightsNs: 10e6,
    batchSizes: [1, 2, 4],
    execNs: [3e6, 4e6, 6e6],
  }]);
  assert.equal(describe(cluster, client, first.revision), null, "nothing has changed");

  // A copy in the middle leaves, slowly: a request is still running.
  cluster.infer(client, models[1]!);
  cluster.run(MS);
  const unloaded = outcome<void>((done) => client.unloadModel(models[1]!, done));
  cluster.run(MS);
  const leaving = outcome<Catalogue | null>((done) => client.describeModels(first.revision, done));
  cluster.run(MS);
  assert.deepEqual(shown(value(leaving)), [
    "0+1 2/a ready",
    "1+1 2/a unloading",
    "2+1 2/a ready",
  ]);
  cluster.run();
  assert.equal(status(unloaded), 0);
  assert.deepEqual(shown(describe(cluster, client)), ["0+1 2/a ready", "2+1 2/a ready"]);

  worker.link.cut();
  cluster.run();
  assert.deepEqual(shown(describe(cluster, client)), [
    "0+1 2/a unavailable",
    "2+1 2/a unavailable",
  ]);
  cluster.connectWorker(worker.server.accept);
  cluster.run();
  const back = describe(cluster, client)!;
  assert.deepEqual(shown(back), ["0+1 2/a ready", "2+1 2/a ready"]);
  assert.deepEqual(back.models[0]!.inputs, first.models[0]!.inputs, "also of what it kept");

  cluster.controller.drain("the controller is shutting down");
  assert.equal(describe(cluster, client, back.revision)!.state, "draining");
});

Deno.test("thousands of models are told in parts, each once", () => {
  const groups = new ModelGroups();
  const catalogue = new ModelCatalogue(groups);
  const facts = { ...FACTS, ...SIGNATURE };
  // Loaded in an order that is not that of their ids.
  for (let i = 0; i < 5000; i++) {
    const firstId = (i * 7 % 5000) * 10;
    groups.add({ firstId, copies: 10, path: `m${firstId}`, chosen: null, facts, specs: new Map() });
  }
  const ids: number[] = [];
  let parts = 0;
  for (let next = 0; parts === 0 || next > 0; parts++) {
    const { models, next_model_id, revision } = catalogue.from(next, 0);
    assert.equal(revision, 1);
    ids.push(...models.map(({ model_id }) => model_id));
    next = next_model_id;
  }
  assert.deepEqual(ids, Array.from({ length: 5000 }, (_, i) => i * 10));
  assert.ok(parts > 10 && parts < 100, `${parts} parts`);
});

Deno.test("what a client puts together from several parts is the whole", () => {
  const cluster = new Cluster();
  cluster.addWorker({ config: { max_models: 1e6 } });
  const { client } = cluster.addClient();
  cluster.serve(client, "1/first");
  for (let i = 0; i < 1000; i++) client.loadModel(`1/${i}`, 1, () => {});
  cluster.run(1000 * MS);
  const { models } = describe(cluster, client)!;
  const { length } = models;
  assert.equal(length, 1001);
  assert.deepEqual(models.map(({ id }) => id), Array.from({ length }, (_, id) => id));
  const known: Model = { id: 500, path: models[500]!.path, inputBytes: 12, outputBytes: 8 };
  const inferred = cluster.infer(client, known);
  cluster.run();
  assert.equal(status(inferred), 0);
});
