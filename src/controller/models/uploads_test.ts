/** Uploads through the controller while it serves, and what becomes of them when something is lost. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../../core/clock.ts";
import { sendUpload, type Uploaded } from "../../client/upload.ts";
import { UPLOAD_CHUNK_BYTES, UPLOAD_WINDOW } from "../../wire/upload.ts";
import { Cluster, outcome, refusal, status, value } from "../test_rig.ts";
import { MemoryRegistryFile } from "./memory_registry.ts";
import {
  addStoring,
  CONTENTS,
  FILE,
  has,
  infer,
  loadUploaded,
  PATH,
  send,
  serving,
} from "./testing_uploads.ts";

Deno.test("an upload is on all workers when it has ended, and can be loaded and served", () => {
  const { cluster, workers, client } = serving();
  const upload = send(cluster, client);
  cluster.run();
  assert.deepEqual(value(upload as never), { workers: 2, problems: "" });
  assert.deepEqual(workers.map(has), [true, true]);
  assert.equal(infer(cluster, client, loadUploaded(cluster, client)), 0);
  const again = send(cluster, client);
  cluster.run();
  assert.equal((value(again as never) as { complete: boolean }).complete, true);
  assert.equal(again.most, 0, "nothing is sent again");
});

Deno.test("an upload is served on chosen workers only", () => {
  const { cluster, workers, client } = serving();
  const upload = send(cluster, client, ["1"]);
  cluster.run();
  assert.deepEqual(value(upload as never), { workers: 1, problems: "" });
  assert.deepEqual(workers.map(has), [false, true]);
});

Deno.test("inferences go on during an upload, which has no more than its window under way", () => {
  const link = { latencyNs: 100_000, bytesPerSecond: 125e6 };
  const { cluster, client, model } = serving(1, { link });
  assert.equal(infer(cluster, client, model), 0);
  const latency = (): number => {
    const beginNs = cluster.clock.now();
    let tookNs = NaN;
    client.infer(model, [new Uint8Array(12)], { deadlineNs: SECOND }, () => {
      tookNs = cluster.clock.now() - beginNs;
    });
    while (Number.isNaN(tookNs)) cluster.run(100_000);
    return tookNs;
  };
  const alone = latency();
  const upload = send(cluster, client);
  let during = 0;
  while (upload.result === null) during = Math.max(during, latency());
  assert.equal(upload.most, UPLOAD_WINDOW);
  // A window at 1 Gbit/s, in front of it.
  const windowNs = UPLOAD_WINDOW * UPLOAD_CHUNK_BYTES / link.bytesPerSecond * SECOND;
  assert.ok(during > alone && during < alone + windowNs + 0.2 * MS, `${during} ns`);
});

Deno.test("a slow worker slows the upload down, and nothing piles up", () => {
  const { cluster, client } = serving(1);
  addStoring(cluster, { link: { bytesPerSecond: 1e6 } });
  cluster.run();
  const upload = send(cluster, client);
  cluster.run(500 * MS);
  assert.equal(upload.result, null);
  cluster.run(2 * SECOND);
  assert.deepEqual(value(upload as never), { workers: 2, problems: "" });
  assert.ok(upload.tookNs > 1.3 * SECOND, `${upload.tookNs}`);
});

Deno.test("a worker that is lost during an upload gets it when it is to load it", () => {
  const { cluster, workers, client } = serving();
  const upload = send(cluster, client);
  cluster.run(200_000);
  workers[1]!.link.cut();
  cluster.run();
  const { workers: count, problems } = value(upload as never) as Record<string, unknown>;
  assert.equal(count, 1);
  assert.match(String(problems), /^worker 1: the worker was lost/);
  assert.deepEqual(workers.map(has), [true, false]);
  assert.equal(workers[1]!.store.partial, 0, "what it had is forgotten");
  const model = loadUploaded(cluster, client);
  cluster.connectWorker(workers[1]!.server.accept);
  cluster.run();
  assert.ok(has(workers[1]!));
  workers[0]!.link.cut();
  cluster.run(100 * MS);
  assert.equal(infer(cluster, client, model), 0, "it serves alone");
});

Deno.test("a newcomer gets what is loaded from a worker that has it", () => {
  const { cluster, workers, client } = serving(1);
  send(cluster, client);
  cluster.run();
  const model = loadUploaded(cluster, client);
  const newcomer = addStoring(cluster);
  cluster.run();
  assert.ok(has(newcomer));
  assert.equal(newcomer.store.partial, 0);
  assert.ok(cluster.lines.includes(`Bringing ${PATH} from worker 0 to worker 1`));
  workers[0]!.link.cut();
  cluster.run(100 * MS);
  assert.equal(infer(cluster, client, model), 0);
});

Deno.test("a newcomer whose source is lost on the way serves the rest, and forgets the half", () => {
  const { cluster, workers, client, model } = serving(1);
  send(cluster, client);
  cluster.run();
  loadUploaded(cluster, client);
  const newcomer = addStoring(cluster, { link: { bytesPerSecond: 10e6 } });
  cluster.run(20 * MS);
  assert.equal(newcomer.store.partial, 1);
  workers[0]!.link.cut();
  cluster.run(5 * SECOND);
  assert.deepEqual([newcomer.store.partial, has(newcomer)], [0, false]);
  assert.equal(infer(cluster, client, model), 0, "the other model is served");
});

Deno.test("copies that are unloaded while a newcomer is brought their files do not stay there", () => {
  const { cluster, client } = serving(1);
  send(cluster, client);
  cluster.run();
  const copies = cluster.load(client, PATH, 3);
  const newcomer = addStoring(cluster, { link: { bytesPerSecond: 10e6 } });
  cluster.run(20 * MS);
  assert.equal(newcomer.store.partial, 1);
  const unloaded = outcome<void>((done) => client.unloadModel(copies[1]!, done));
  cluster.run(5 * SECOND);
  assert.equal(status(unloaded), 0);
  assert.ok(has(newcomer));
  const ids = newcomer.server.node.registry.list().map(({ id }) => id);
  assert.deepEqual(ids, [0, copies[0]!.id, copies[2]!.id]);
});

Deno.test("a file that cannot be read to its end leaves nothing behind, and the client is told why", () => {
  const { cluster, workers, client } = serving();
  const failed = outcome<Uploaded>((done) =>
    sendUpload(
      client,
      "net",
      [FILE],
      (_, offset, length, done) => {
        if (offset < 10 * UPLOAD_CHUNK_BYTES) done(CONTENTS.slice(offset, offset + length), "");
        else done(null, "it has become shorter meanwhile");
      },
      {},
      done,
    )
  );
  cluster.run();
  assert.match(refusal(failed), /"model.onnx" cannot be read: it has become shorter meanwhile$/);
  assert.deepEqual(workers.map(({ store }) => [store.partial, store.kept.size]), [[0, 0], [0, 0]]);
});

Deno.test("a client that leaves, or does nothing more, leaves nothing behind", () => {
  for (const how of ["leaves", "stops"]) {
    const { cluster, workers, client, link } = serving();
    const begun = outcome<unknown>((done) => client.beginUpload("net", [FILE], [], done));
    cluster.run(MS);
    value(begun);
    assert.deepEqual(workers.map(({ store }) => store.partial), [1, 1]);
    if (how === "leaves") link.cut();
    cluster.run(how === "leaves" ? SECOND : 61 * SECOND);
    assert.deepEqual(workers.map(({ store }) => store.partial), [0, 0], how);
  }
});

Deno.test("a client that leaves while its upload is announced leaves nothing behind", () => {
  const { cluster, client, link } = serving(1);
  const far = addStoring(cluster, { link: { latencyNs: 20 * MS } });
  cluster.run();
  client.beginUpload("net", [FILE], [], () => {});
  cluster.run(10 * MS);
  link.cut();
  cluster.run(20 * MS);
  assert.equal(far.store.partial, 1, "the worker has been told");
  cluster.run(SECOND);
  assert.equal(far.store.partial, 0);
});

Deno.test("a controller that is lost during an upload leaves nothing behind; the upload is begun again", () => {
  const { cluster, workers, client } = serving(2, {}, new MemoryRegistryFile());
  const upload = send(cluster, client);
  cluster.run(200_000);
  assert.equal(upload.result, null);
  cluster.replaceController();
  assert.equal(status(upload as never), 256, "nobody knows what became of it");
  assert.deepEqual(workers.map(({ store }) => [store.partial, store.kept.size]), [[0, 0], [0, 0]]);
  for (const { server } of workers) cluster.connectWorker(server.accept);
  cluster.controller.start();
  cluster.run(2 * SECOND);
  const later = cluster.addClient().client;
  const again = send(cluster, later);
  cluster.run();
  assert.deepEqual(value(again as never), { workers: 2, problems: "" });
  // Neither files nor models are lost by another restart.
  const model = loadUploaded(cluster, later);
  cluster.replaceController();
  for (const { server } of workers) cluster.connectWorker(server.accept);
  cluster.controller.start();
  cluster.run(2 * SECOND);
  assert.equal(infer(cluster, cluster.addClient().client, model), 0);
});

Deno.test("what a client sends against the rules ends its upload, and nobody else's", () => {
  const { cluster, client } = serving();
  const other = send(cluster, client);
  const raw = cluster.addRawClient();
  const header = { user_id: 0, model_name: "net2", files: [FILE], workers: [] };
  const answersTo = (id: number) =>
    raw.received.filter((message) => message.id === id).map(({ header }) => JSON.stringify(header));
  raw.link.send("BeginUploadRequest", 1, header);
  cluster.run(300_000);
  const [begun] = raw.received;
  assert.equal(begun?.kind, "BeginUploadResponse");
  const { upload_id } = begun!.header as { upload_id: number };
  for (let i = 0; i < UPLOAD_WINDOW + 1; i++) {
    const offset = i * UPLOAD_CHUNK_BYTES;
    const piece = [CONTENTS.slice(offset, offset + UPLOAD_CHUNK_BYTES)];
    raw.link.send("UploadChunkRequest", 10 + i, { upload_id, file: 0, offset }, piece);
  }
  // Another's upload is none of its business.
  raw.link.send("EndUploadRequest", 20, { upload_id: other.id, keep: 1 });
  cluster.run();
  assert.match(answersTo(10 + UPLOAD_WINDOW)[0]!, /at most 4 may be on their way/);
  assert.match(answersTo(20)[0]!, /there is no upload/);
  raw.link.send("EndUploadRequest", 21, { upload_id, keep: 1 });
  raw.link.send("BeginUploadRequest", 22, { ...header, files: [{ ...FILE, size: 2 ** 40 }] });
  raw.link.send("BeginUploadRequest", 23, { ...header, model_name: "../net" });
  cluster.run();
  assert.match(answersTo(21)[0]!, /there is no upload/);
  assert.match(answersTo(22)[0]!, /raise --max-upload-size/);
  assert.match(answersTo(23)[0]!, /is no name for a model/);
  assert.deepEqual(value(other as never), { workers: 2, problems: "" });
});

Deno.test("two uploads may be under way, and a third is told to come later", () => {
  const { cluster, client } = serving();
  const begin = (name: string) =>
    outcome<unknown>((done) => client.beginUpload(name, [FILE], [], done));
  const begun = ["a", "b", "c"].map(begin);
  cluster.run(MS);
  assert.deepEqual(begun.map(status), [0, 0, 10]);
});

Deno.test("workers that take no uploads say so", () => {
  const cluster = new Cluster();
  cluster.addWorker();
  const { client } = cluster.addClient();
  cluster.serve(client, "2/a");
  const upload = send(cluster, client);
  cluster.run();
  assert.ok(upload.result?.ok === false);
  assert.match(upload.result.message, /^worker 0: this worker takes no uploads: start it with/);
});
