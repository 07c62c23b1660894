/** Workers that come, go and return while the controller serves. */
import assert from "node:assert/strict";
import type { Model } from "../client/model.ts";
import { MS, SECOND } from "../core/clock.ts";
import { Cluster, outcome, refusal, status } from "./test_rig.ts";

Deno.test("a worker that comes while serving gets the models, and then serves", () => {
  const cluster = new Cluster();
  const first = cluster.addWorker();
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "2/a", "3/b");
  cluster.addWorker({ gpus: 2 });
  cluster.run();
  assert.ok(cluster.lines.some((line) => line === "Worker 1 serves with 2 GPUs"));
  first.link.cut();
  cluster.run(100 * MS);
  const outcome = cluster.infer(client, model!);
  cluster.run();
  assert.equal(status(outcome), 0, "the newcomer serves alone");
});

Deno.test("service resumes when the only worker is back, with its models or without", () => {
  for (const keepsModels of [true, false]) {
    const cluster = new Cluster();
    const worker = cluster.addWorker();
    const { client } = cluster.addClient();
    const [model] = cluster.serve(client, "2/a");
    const before = cluster.infer(client, model!);
    cluster.run();
    assert.equal(status(before), 0);
    worker.link.cut();
    cluster.run();
    assert.equal(status(run(cluster, cluster.infer(client, model!))), 10, "nobody can serve it");
    const loads = () => cluster.lines.filter((line) => line.includes(":LoadModelFromDisk model="));
    const loadsBefore = loads().length;
    if (keepsModels) cluster.connectWorker(worker.server.accept);
    else cluster.addWorker();
    cluster.run();
    assert.equal(loads().length - loadsBefore, keepsModels ? 0 : 1);
    assert.equal(status(run(cluster, cluster.infer(client, model!))), 0, "it serves again");
    assert.deepEqual(
      cluster.requests.map(({ cold }) => cold),
      [true, true, true],
      "its weights were lost with it",
    );
  }
});

Deno.test("a model that is loaded while a worker comes reaches that worker too", () => {
  const cluster = new Cluster();
  const first = cluster.addWorker({ link: { latencyNs: 4 * MS } });
  const { client } = cluster.addClient();
  cluster.serve(client, "2/a");
  // The newcomer is asked for its state while the first, which is far away, loads the model.
  client.loadModel("2/late", 1, () => {});
  cluster.run(MS);
  cluster.addWorker();
  cluster.run(2 * SECOND);
  first.link.cut();
  cluster.run(100 * MS);
  const late = { id: 1, path: "2/late", inputBytes: 12, outputBytes: 8 };
  assert.equal(status(run(cluster, cluster.infer(client, late))), 0);
});

Deno.test("a worker that comes with other models under the same ids forgets them, and serves", () => {
  const elsewhere = new Cluster();
  const stranger = elsewhere.addWorker();
  elsewhere.serve(elsewhere.addClient().client, "2/x");
  const cluster = new Cluster();
  cluster.addWorker();
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "2/a");
  elsewhere.clock.run(cluster.clock.now());
  cluster.connectWorker(stranger.server.accept, elsewhere.clock);
  for (let i = 0; i < 100; i++) {
    cluster.run(10 * MS);
    elsewhere.run(10 * MS);
  }
  assert.ok(
    cluster.lines.includes("Worker 1 has 1 models that nobody can use: it forgets them"),
  );
  assert.deepEqual(stranger.server.node.registry.list().map(({ path }) => path), ["2/a"]);
  assert.equal(status(run(cluster, cluster.infer(client, model!))), 0);
});

Deno.test("without workers at the start, loads are refused until one has come", () => {
  const cluster = new Cluster();
  const { client } = cluster.addClient();
  cluster.controller.start();
  cluster.run();
  const refused = outcome<readonly Model[]>((done) => client.loadModel("2/a", 1, done));
  cluster.run();
  assert.match(refusal(refused), /^10 no worker is connected/);
  cluster.addWorker();
  cluster.run();
  const [model] = cluster.load(client, "2/a");
  cluster.run(2 * SECOND);
  assert.equal(status(run(cluster, cluster.infer(client, model!))), 0);
});

Deno.test("what is to be loaded without being asked for is loaded on the first worker that comes", () => {
  const cluster = new Cluster({ preload: { path: "2/a", copies: 3 } });
  cluster.controller.start();
  cluster.run();
  const { server } = cluster.addWorker();
  cluster.run();
  assert.equal(server.node.registry.size, 3);
});

function run<T>(cluster: Cluster, outcome: T): T {
  cluster.run();
  return outcome;
}
