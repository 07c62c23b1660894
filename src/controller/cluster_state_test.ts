/** What a client is told that watches a cluster. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import type { ClusterState } from "../wire/cluster_state.ts";
import { encodeFrame } from "../wire/frame.ts";
import { Cluster, outcome, type TestClient, value } from "./test_rig.ts";

function watch(cluster: Cluster, { client }: TestClient, cursor = 0): ClusterState {
  const asked = outcome<ClusterState>((done) => client.clusterState(cursor, done));
  cluster.run(1 * MS);
  return value(asked);
}

Deno.test("whoever watches is told of workers, models, requests and actions, each once", () => {
  const cluster = new Cluster();
  const worker = cluster.addWorker({ gpus: 2, pages: 10, offsetNs: 3 * SECOND });
  const watcher = cluster.addClient();
  const early = watch(cluster, watcher);
  assert.deepEqual([early.state, early.no_of_workers, early.no_of_models], ["initializing", 0, 0]);

  const { client } = cluster.addClient();
  const [a] = cluster.serve(client, "2/a", "3/b");
  const first = watch(cluster, watcher);
  assert.deepEqual([first.state, first.no_of_gpus, first.no_of_models], ["serving", 2, 2]);
  assert.ok(Math.abs(first.workers[0]!.clock_offset_ns + 3 * SECOND) < MS);
  cluster.infer(client, a!);
  cluster.run(5 * MS);
  // Its weights are on their way.
  const loading = watch(cluster, watcher, first.cursor);
  assert.equal(loading.unanswered, 1);
  assert.ok(loading.planned_actions.action_type.includes(1));
  cluster.run();
  const served = watch(cluster, watcher, loading.cursor);
  assert.deepEqual(served.actions.action_type, [1, 2]);
  assert.deepEqual(served.actions.model_id, [a!.id, a!.id]);
  const { begin_ns, end_ns, planned_begin_ns, planned_end_ns } = served.actions;
  assert.ok(Math.abs(end_ns[1]! - begin_ns[1]! - 3 * MS) < 1000);
  assert.ok(Math.abs(planned_end_ns[1]! - planned_begin_ns[1]! - 3 * MS) < 1000);
  assert.ok(Math.abs(planned_end_ns[1]! - end_ns[1]!) < MS);
  assert.deepEqual(served.planned_actions.action_id, []);
  assert.deepEqual(served.seconds.map(({ in_time, cold_starts }) => [in_time, cold_starts]), [[
    1,
    1,
  ]]);
  assert.deepEqual(
    served.model_figures.map((model) => [model.model_path, model.no_of_copies, model.answered]),
    [["2/a", 1, 1], ["3/b", 1, 0]],
  );
  const busy = served.gpus.find(({ loaded_models }) => loaded_models === 1)!;
  assert.equal(busy.used_pages, 2);
  assert.ok(Math.abs(busy.infer_ns - 3 * MS) < 1000 && Math.abs(busy.load_ns - 10 * MS) < 1000);

  const quiet = watch(cluster, watcher, served.cursor);
  assert.deepEqual([quiet.actions.action_id, quiet.seconds, quiet.events], [[], [], []]);
  worker.link.cut();
  cluster.run();
  const lost = watch(cluster, watcher, quiet.cursor);
  assert.equal(lost.no_of_workers, 0);
  assert.match(lost.events[0]!.message, /^Worker 0 \(worker\) lost: /);
});

Deno.test("an answer is small, however much there is", () => {
  const cluster = new Cluster();
  for (let i = 0; i < 3; i++) cluster.addWorker({ gpus: 500, pages: 10_000 });
  const watcher = cluster.addClient();
  const paths = Array.from({ length: 300 }, (_, i) => `1/${"x".repeat(1000)}${i}`);
  const models = cluster.serve(watcher.client, ...paths);
  const { cursor } = watch(cluster, watcher);
  for (let round = 0; round < 4; round++) {
    for (const model of models) {
      for (let i = 0; i < 3; i++) cluster.infer(watcher.client, model);
      cluster.run(0.2 * MS);
    }
  }
  cluster.run();
  const state = watch(cluster, watcher, cursor);
  assert.deepEqual([state.no_of_gpus, state.no_of_models], [1500, 300]);
  assert.deepEqual([state.gpus.length, state.model_figures.length], [1000, 200]);
  assert.equal(state.actions.action_id.length, 2000);
  const { byteLength } = encodeFrame("ClusterStateResponse", 1, state, 0, 0, 0);
  assert.ok(byteLength < 2 ** 19, `${byteLength}`);
});
