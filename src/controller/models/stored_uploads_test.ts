/** The uploads that workers keep are listed, and removed wherever they are, for good. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../../core/clock.ts";
import type { Client } from "../../client/client.ts";
import type { Model } from "../../client/model.ts";
import type { StoredUpload, UploadRemoved } from "../../client/upload.ts";
import { connectInMemory } from "../../wire/memory_link.ts";
import { MAX_UPLOADS_REMOVED } from "../../wire/upload.ts";
import { TestController } from "../../worker/test_rig.ts";
import { Cluster, outcome, refusal, status, value } from "../test_rig.ts";
import { MemoryRegistryFile } from "./memory_registry.ts";
import {
  addStoring,
  FILE,
  has,
  infer,
  loadUploaded,
  PATH,
  send,
  serving,
  type Storing,
} from "./testing_uploads.ts";

const OTHER = "uploads/another/0123456789abcdef";

const asked = (client: Client, path = PATH) =>
  outcome<UploadRemoved>((done) => client.removeUpload(path, done));

function remove(cluster: Cluster, client: Client, path = PATH) {
  const removal = asked(client, path);
  cluster.run(100 * MS);
  return removal;
}

function list(cluster: Cluster, client: Client): readonly StoredUpload[] {
  const listed = outcome<readonly StoredUpload[]>((done) => client.listUploads(done));
  cluster.run(10 * MS);
  return value(listed);
}

function unload(cluster: Cluster, client: Client, model: Model): void {
  const unloaded = outcome<void>((done) => client.unloadModel(model, done));
  cluster.run(100 * MS);
  value(unloaded);
}

function load(cluster: Cluster, client: Client, path = PATH) {
  const loaded = outcome<readonly Model[]>((done) => client.loadModel(path, 1, done));
  cluster.run(100 * MS);
  return loaded;
}

/** A cluster whose workers have the upload. */
function withUpload(workers = 2, registry?: MemoryRegistryFile) {
  const all = serving(workers, {}, registry);
  const upload = send(all.cluster, all.client);
  all.cluster.run();
  assert.equal(status(upload), 0);
  assert.ok(all.workers.every(has));
  return all;
}

/** The controller is started again, and these workers come back to it. */
function restart(cluster: Cluster, workers: readonly Storing[]): Client {
  cluster.replaceController();
  for (const { server } of workers) cluster.connectWorker(server.accept);
  cluster.controller.start();
  cluster.run(2 * SECOND);
  return cluster.addClient().client;
}

Deno.test("an upload is removed from all workers, which twice is no mistake, and may come again", () => {
  const { cluster, workers, client } = withUpload();
  assert.deepEqual(value(remove(cluster, client)), { workers: 2, problems: "" });
  assert.deepEqual(workers.map(has), [false, false]);
  assert.deepEqual(value(remove(cluster, client)), { workers: 0, problems: "" });
  assert.equal(refusal(load(cluster, client)), `6 ${PATH} was removed: upload it again`);
  assert.match(refusal(load(cluster, client, `/data/${PATH}/model.onnx`)), /was removed/);
  const again = send(cluster, client);
  cluster.run();
  assert.equal(status(again), 0);
  assert.equal(infer(cluster, client, loadUploaded(cluster, client)), 0);
});

Deno.test("what is loaded, or on its way, is not removed", () => {
  const { cluster, workers, client } = withUpload();
  const loading = outcome<readonly Model[]>((done) => client.loadModel(PATH, 1, done));
  const early = asked(client);
  cluster.run(100 * MS);
  assert.match(refusal(early), /^10 .* is being uploaded, loaded or unloaded: try again/);
  const [model] = value(loading);
  assert.equal(
    refusal(remove(cluster, client)),
    `6 ${PATH} is loaded as model ${model!.id}: unload them first`,
  );
  assert.equal(infer(cluster, client, model!), 0);
  const unloading = outcome<void>((done) => client.unloadModel(model!, done));
  const meanwhile = asked(client);
  cluster.run(100 * MS);
  value(unloading);
  assert.match(refusal(meanwhile), /^10 /);
  assert.ok(workers.every(has));
  assert.equal(value(remove(cluster, client)).workers, 2);
  const upload = send(cluster, client);
  const atOnce = asked(client);
  cluster.run(200_000);
  assert.match(refusal(atOnce), /^10 /);
  assert.match(refusal(remove(cluster, client)), /^10 /);
  cluster.run();
  assert.equal(status(upload), 0);
  assert.ok(workers.every(has));
});

Deno.test("only paths of uploads are taken", () => {
  const { cluster, client } = withUpload();
  const wrong = ["", "net", "uploads/net", `${PATH}/model.onnx`, "uploads/../x", `/${PATH}`];
  for (const path of [...wrong, `uploads/${"x".repeat(3000)}/0123456789abcdef`]) {
    assert.match(refusal(remove(cluster, client, path)), /^6 ".*" is no path of an upload/, path);
  }
  assert.equal(cluster.controller.workers, 2, "nothing that they would not understand");
});

Deno.test("uploads are listed with their sizes, workers and copies", () => {
  const { cluster, workers, client } = withUpload();
  const entry = { path: PATH, bytes: FILE.size, workers: 2, copies: 0 };
  assert.deepEqual(list(cluster, client), [entry]);
  workers[1]!.store.kept.set(OTHER, { files: [{ ...FILE, size: 7 }], contents: new Map() });
  cluster.load(client, PATH, 3);
  loadUploaded(cluster, client);
  const other = { path: OTHER, bytes: 7, workers: 1, copies: 0 };
  assert.deepEqual(list(cluster, client), [other, { ...entry, copies: 4 }]);
  workers[0]!.link.cut();
  cluster.run();
  assert.deepEqual(list(cluster, client), [other, { ...entry, workers: 1, copies: 4 }]);
  workers[1]!.link.cut();
  cluster.run();
  assert.deepEqual(list(cluster, client), []);
});

Deno.test("a worker that keeps it all the same is named, and is told again when it comes again", () => {
  const { cluster, workers, client } = withUpload();
  workers[1]!.store.problem = "disk broken";
  assert.deepEqual(value(remove(cluster, client)), {
    workers: 1,
    problems: `worker 1: ${PATH}: disk broken`,
  });
  workers[1]!.store.problem = "";
  workers[1]!.link.cut();
  cluster.run();
  cluster.connectWorker(workers[1]!.server.accept);
  cluster.run();
  assert.deepEqual(workers.map(has), [false, false]);
});

Deno.test("a worker on which another controller has loaded an upload keeps it", () => {
  const { cluster, workers, client } = withUpload();
  const other = new TestController(cluster.clock, cluster.clock);
  connectInMemory(
    { name: "another controller", clock: cluster.clock, accept: other.accept },
    { name: "worker", clock: cluster.clock, accept: workers[0]!.server.accept },
    {},
  );
  other.loadModel(1000, PATH);
  cluster.run(10 * MS);
  assert.deepEqual(value(remove(cluster, client)), {
    workers: 1,
    problems: `worker 0: ${PATH}: models of it are loaded: unload them first`,
  });
  other.send("UnloadModel", { model_id: 1000, no_of_copies: 1 });
  cluster.run(10 * MS);
  assert.deepEqual(value(remove(cluster, client)), { workers: 1, problems: "" });
});

Deno.test("a worker that is lost while it removes an upload is named", () => {
  const { cluster, workers, client } = withUpload();
  const removal = asked(client);
  cluster.run(60_000);
  workers[0]!.link.cut();
  cluster.run();
  const { workers: count, problems } = value(removal);
  assert.equal(count, 1);
  assert.match(problems, /^worker 0: the worker was lost/);
});

Deno.test("a worker that was away removes it when it comes, once it has forgotten its models", () => {
  const { cluster, workers, client } = withUpload();
  const model = loadUploaded(cluster, client);
  workers[1]!.link.cut();
  cluster.run();
  unload(cluster, client, model);
  assert.equal(value(remove(cluster, client)).workers, 1);
  assert.deepEqual(workers.map(has), [false, true]);
  cluster.connectWorker(workers[1]!.server.accept);
  cluster.run();
  assert.deepEqual(workers.map(has), [false, false]);
});

Deno.test("what was removed while no worker was there goes when one comes", () => {
  const { cluster, workers, client } = withUpload(1);
  workers[0]!.link.cut();
  cluster.run();
  assert.deepEqual(value(remove(cluster, client)), { workers: 0, problems: "" });
  cluster.connectWorker(workers[0]!.server.accept);
  cluster.run();
  assert.ok(!has(workers[0]!));
});

Deno.test("a worker that is told late does not remove what has been uploaded again meanwhile", () => {
  const { cluster, workers, client } = withUpload();
  const model = loadUploaded(cluster, client);
  workers[1]!.link.cut();
  cluster.run();
  unload(cluster, client, model);
  value(remove(cluster, client));
  // It tells its state, empties its caches and forgets the model before it is told of the removal.
  const link = { latencyNs: 10 * MS };
  cluster.connectWorker(workers[1]!.server.accept, cluster.clock, link);
  cluster.run(55 * MS);
  const upload = send(cluster, client);
  cluster.run();
  assert.equal(status(upload), 0);
  assert.deepEqual(workers.map(has), [true, true]);
});

Deno.test("what a newcomer is being brought is not removed, though it has been unloaded", () => {
  const { cluster, workers, client } = withUpload(1);
  const model = loadUploaded(cluster, client);
  const newcomer = addStoring(cluster, { link: { bytesPerSecond: 10e6 } });
  cluster.run(20 * MS);
  assert.equal(newcomer.store.partial, 1);
  const unloading = outcome<void>((done) => client.unloadModel(model, done));
  while (unloading.result === null) cluster.run(MS);
  value(unloading);
  assert.equal(newcomer.store.partial, 1, "the files are still on their way");
  const removal = asked(client);
  cluster.run(MS);
  assert.match(refusal(removal), /^10 /);
  cluster.run(5 * SECOND);
  assert.ok(has(newcomer));
  assert.deepEqual(value(remove(cluster, client)), { workers: 2, problems: "" });
  assert.deepEqual([workers[0]!, newcomer].map(has), [false, false]);
});

Deno.test("what a newcomer has been brought is removed like all else", () => {
  const { cluster, workers, client } = withUpload(1);
  const model = loadUploaded(cluster, client);
  const newcomer = addStoring(cluster);
  cluster.run();
  assert.ok(has(newcomer));
  unload(cluster, client, model);
  assert.equal(value(remove(cluster, client)).workers, 2);
  assert.deepEqual([workers[0]!, newcomer].map(has), [false, false]);
});

Deno.test("a controller that drains ends a removal that it has begun, and begins no other", () => {
  const { cluster, client } = withUpload();
  const removal = asked(client);
  cluster.run(60_000);
  cluster.controller.drain("the controller is shutting down");
  assert.equal(cluster.controller.pending, 1);
  assert.match(refusal(remove(cluster, client)), /^10 the controller is shutting down/);
  assert.equal(value(removal).workers, 2);
  assert.equal(cluster.controller.pending, 0);
});

Deno.test("a removal outlives the controller, until the upload comes again", () => {
  const { cluster, workers, client } = withUpload(2, new MemoryRegistryFile());
  workers[1]!.link.cut();
  cluster.run();
  assert.equal(value(remove(cluster, client)).workers, 1);
  const second = restart(cluster, [workers[0]!]);
  assert.match(refusal(load(cluster, second)), /was removed/);
  cluster.connectWorker(workers[1]!.server.accept);
  cluster.run();
  assert.deepEqual(workers.map(has), [false, false]);
  const again = send(cluster, second);
  cluster.run();
  assert.equal(status(again), 0);
  const third = restart(cluster, workers);
  assert.deepEqual(workers.map(has), [true, true], "not removed by an old removal");
  assert.equal(status(load(cluster, third)), 0);
});

Deno.test("the last removals are remembered, as many as one message tells", () => {
  const { cluster, workers, client } = withUpload(1);
  workers[0]!.link.cut();
  cluster.run();
  remove(cluster, client);
  const longest = (i: number) => `uploads/${"x".repeat(100)}/${i.toString(16).padStart(16, "0")}`;
  for (let i = 1; i < MAX_UPLOADS_REMOVED; i++) asked(client, longest(i));
  cluster.connectWorker(workers[0]!.server.accept);
  cluster.run();
  assert.ok(!has(workers[0]!), "it is among them");
  assert.equal(cluster.controller.workers, 1, "which the worker understands");
  const link = cluster.connectWorker(addStoring(cluster).server.accept);
  cluster.run();
  link.cut();
  asked(client);
  asked(client, longest(MAX_UPLOADS_REMOVED));
  cluster.run();
  const why = (path: string) => refusal(load(cluster, client, path));
  assert.match(why(PATH), /was removed/, "removed again");
  assert.doesNotMatch(why(longest(1)), /was removed/, "the oldest is forgotten");
});

Deno.test("a worker is told nothing when nothing was removed", () => {
  const { cluster } = withUpload();
  addStoring(cluster);
  cluster.run();
  assert.ok(!cluster.lines.some((line) => line.includes("RemoveUploads")));
});

Deno.test("workers that take no uploads have none", () => {
  const cluster = new Cluster();
  cluster.addWorker();
  const { client } = cluster.addClient();
  cluster.serve(client, "2/a");
  assert.deepEqual(list(cluster, client), []);
  assert.deepEqual(value(remove(cluster, client)), { workers: 0, problems: "" });
});

Deno.test("until the controller knows its workers it neither lists nor removes", () => {
  const cluster = new Cluster();
  const raw = cluster.addRawClient();
  raw.link.send("ListUploadsRequest", 1, { user_id: 0 });
  raw.link.send("RemoveUploadRequest", 2, { user_id: 0, model_path: PATH });
  cluster.run(MS);
  assert.match(raw.answer(1), /^5 /);
  assert.match(raw.answer(2), /^5 /);
});
