/** Loads that are repeated, and loads on chosen workers. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../../core/clock.ts";
import type { Header } from "../../wire/messages.ts";
import { Cluster, RawClient, ScriptedWorker, status } from "../test_rig.ts";

function loadOf(more: Partial<Header<"LoadModelRequest">> = {}): Header<"LoadModelRequest"> {
  return { user_id: 0, model_path: "2/b", no_of_copies: 2, workers: [], key: "", ...more };
}

/** A cluster of two workers that serves model 0, and a client that says what it likes. */
function serving() {
  const cluster = new Cluster();
  const workers = [
    cluster.addWorker({ name: "here:1" }),
    cluster.addWorker({ name: "there:2" }),
  ];
  const { client } = cluster.addClient();
  cluster.serve(client, "2/a");
  const raw = cluster.addRawClient();
  const ids = () => workers.map(({ server }) => server.node.registry.list().map(({ id }) => id));
  return { cluster, workers, client, raw, ids };
}

/** The answer to a request, without its id. */
function answerTo({ received }: RawClient, request: number): object {
  const found = received.filter(({ id }) => id === request);
  assert.equal(found.length, 1, `${found.length} answers to request ${request}`);
  return { kind: found[0]!.kind, ...found[0]!.header };
}

Deno.test("a load that is repeated with its key is done once, while it is under way and after", () => {
  const { cluster, raw, ids } = serving();
  raw.link.send("LoadModelRequest", 1, loadOf({ key: "k" }));
  raw.link.send("LoadModelRequest", 2, loadOf({ key: "k" }));
  cluster.run(10 * MS);
  const again = cluster.addRawClient();
  again.link.send("LoadModelRequest", 1, loadOf({ key: "k", user_id: 7 }));
  cluster.run(10 * MS);
  const answer = answerTo(raw, 1);
  assert.equal((answer as { model_id: number }).model_id, 1);
  assert.deepEqual(answerTo(raw, 2), answer);
  assert.deepEqual(answerTo(again, 1), answer);
  assert.deepEqual(ids(), [[0, 1, 2], [0, 1, 2]]);
  again.link.send("LoadModelRequest", 2, loadOf());
  again.link.send("LoadModelRequest", 3, loadOf({ key: "k", no_of_copies: 3 }));
  cluster.run(10 * MS);
  assert.deepEqual(ids()[0], [0, 1, 2, 3, 4], "without the key it is another load");
  assert.match(JSON.stringify(answerTo(again, 3)), /key was used for another request/);
});

Deno.test("an unload that is repeated with its key succeeds again, and its load's key is used up", () => {
  const { cluster, raw, ids } = serving();
  raw.link.send("LoadModelRequest", 1, loadOf({ key: "k" }));
  cluster.run(10 * MS);
  const unload = { user_id: 0, model_id: 1, no_of_copies: 2, key: "u" };
  for (const id of [2, 3]) {
    raw.link.send("UnloadModelRequest", id, unload);
    cluster.run(10 * MS);
  }
  raw.link.send("UnloadModelRequest", 4, { ...unload, key: "" });
  raw.link.send("LoadModelRequest", 5, loadOf({ key: "k" }));
  cluster.run(10 * MS);
  assert.deepEqual(raw.received.map(({ kind }) => kind), [
    "LoadModelResponse",
    "UnloadModelResponse",
    "UnloadModelResponse",
    "ErrorResponse",
    "ErrorResponse",
  ]);
  assert.match(JSON.stringify(answerTo(raw, 5)), /have been unloaded: use another key/);
  assert.deepEqual(ids(), [[0], [0]]);
});

Deno.test("a model is loaded on the workers that are named, by number or address", () => {
  const { cluster, workers, client, raw, ids } = serving();
  raw.link.send("LoadModelRequest", 1, loadOf({ workers: ["1"], model_path: "2/b" }));
  raw.link.send("LoadModelRequest", 2, loadOf({ workers: ["here:1", "0"], model_path: "2/c" }));
  raw.link.send("LoadModelRequest", 3, loadOf({ workers: ["1", "elsewhere:3"] }));
  cluster.run(10 * MS);
  assert.deepEqual(ids(), [[0, 3, 4], [0, 1, 2]]);
  assert.match(
    JSON.stringify(answerTo(raw, 3)),
    /there is no worker elsewhere:3: those that are connected are 0 \(here:1\), 1 \(there:2\)/,
  );
  const models = [1, 3].map((id) => ({ id, path: "", inputBytes: 12, outputBytes: 8 }));
  const outcomes = models.map((model) => cluster.infer(client, model));
  cluster.run();
  assert.deepEqual(outcomes.map(status), [0, 0]);
  // Another worker is not given what was meant for these; the one that comes back is.
  const other = cluster.addWorker({ name: "new:4" });
  workers[1]!.link.cut();
  cluster.run();
  const back = cluster.addWorker({ name: "there:2" });
  cluster.run();
  const held = [other, back].map(({ server }) => server.node.registry.list().map(({ id }) => id));
  assert.deepEqual(held, [[0], [0, 1, 2]]);
});

Deno.test("a model is not where it was loaded by a worker that is lost before the others have it", () => {
  const { cluster, workers, raw } = serving();
  const slow = new ScriptedWorker(cluster.clock, (action, answer) => {
    if (action.kind !== "LoadModelFromDisk" || action.header.model_path === "2/a") return false;
    slow.after(SECOND, () => slow.behave(action, answer));
    return true;
  });
  const link = cluster.connectWorker(slow.accept, cluster.clock, {}, "slow:3");
  cluster.run();
  raw.link.send("LoadModelRequest", 1, loadOf({ workers: ["here:1", "slow:3"] }));
  cluster.run(500 * MS);
  workers[0]!.link.cut();
  cluster.run();
  assert.equal(raw.answer(1), "0");
  const statusOf = (request: number) => {
    raw.link.send("DescribeModelsRequest", request, { user_id: 0, model_id: 1, revision: 0 });
    cluster.run();
    const answer = raw.received.find(({ id }) => id === request)!;
    assert.ok(answer.kind === "DescribeModelsResponse");
    return answer.header.models.map(({ model_status }) => model_status);
  };
  assert.deepEqual(statusOf(2), ["ready"]);
  link.cut();
  cluster.run();
  assert.deepEqual(statusOf(3), ["unavailable"]);
});
