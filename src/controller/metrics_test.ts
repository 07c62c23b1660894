/** What metrics tell of a cluster, next to what happened in it. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { networkMetrics } from "../telemetry/metrics/network_metrics.ts";
import { scrape } from "../telemetry/metrics/testing.ts";
import { Cluster } from "./test_rig.ts";

/** The samples whose names begin so. */
function among(found: ReadonlyMap<string, number>, name: string): Record<string, number> {
  return Object.fromEntries([...found].filter(([key]) => key.startsWith(name)));
}

Deno.test("requests are counted by model, user and outcome", async () => {
  const cluster = new Cluster();
  cluster.addWorker();
  const { client } = cluster.addClient({ userId: 7 });
  const other = cluster.addClient({ userId: 8 }).client;
  const [a, b] = cluster.serve(client, "2/a", "3/b");
  for (let i = 0; i < 3; i++) {
    cluster.infer(client, a!);
    cluster.run();
  }
  cluster.infer(other, b!);
  cluster.run();
  cluster.infer(other, b!, { deadlineNs: 1 });
  cluster.addRawClient().infer(1, { model_id: 99 });
  cluster.run();
  const found = await scrape(cluster.metrics.metrics());
  assert.deepEqual(among(found, "clockwork_requests_total"), {
    'clockwork_requests_total{model="2/a",status="success"}': 3,
    'clockwork_requests_total{model="3/b",status="success"}': 1,
    'clockwork_requests_total{model="3/b",status="couldNotStartInTime"}': 1,
  });
  assert.deepEqual(among(found, "clockwork_user_requests_total"), {
    'clockwork_user_requests_total{user="7",status="success"}': 3,
    'clockwork_user_requests_total{user="8",status="success"}': 1,
    'clockwork_user_requests_total{user="8",status="couldNotStartInTime"}': 1,
  });
  assert.deepEqual(among(found, "clockwork_rejected"), {
    'clockwork_rejected_requests_total{status="invalidRequest"}': 1,
  });
  assert.deepEqual(among(found, "clockwork_deadline"), {
    'clockwork_deadline_misses_total{model="2/a"}': 0,
    'clockwork_deadline_misses_total{model="3/b"}': 1,
  });
  assert.deepEqual(among(found, "clockwork_cold"), {
    'clockwork_cold_starts_total{model="2/a"}': 1,
    'clockwork_cold_starts_total{model="3/b"}': 1,
  });
  assert.equal(found.get('clockwork_request_latency_seconds_count{model="2/a"}'), 3);
  const latencyS = cluster.requests.filter(({ modelId }) => modelId === a!.id)
    .reduce((sum, { departureNs, arrivalNs }) => sum + departureNs - arrivalNs, 0) / SECOND;
  const sumS = found.get('clockwork_request_latency_seconds_sum{model="2/a"}')!;
  assert.ok(Math.abs(sumS - latencyS) < 1e-9);
});

Deno.test("models and users beyond the limit are counted together", async () => {
  const cluster = new Cluster();
  cluster.addWorker();
  const models = cluster.serve(cluster.addClient().client, "1/0", "1/1", "1/2", "1/3", "1/4");
  for (let user = 0; user < 5; user++) {
    cluster.infer(cluster.addClient({ userId: user }).client, models[user]!);
    cluster.run();
  }
  const found = await scrape(cluster.metrics.metrics());
  const labels = (name: string) =>
    Object.entries(among(found, name)).map(([key, n]) => [/"(.*?)"/.exec(key)![1], n]);
  const expected = (prefix: string) => [
    ...[0, 1, 2].map((i) => [`${prefix}${i}`, 1]),
    ["other", 2],
  ];
  assert.deepEqual(labels("clockwork_requests_total"), expected("1/"));
  assert.deepEqual(labels("clockwork_user_requests_total"), expected(""));
});

Deno.test("actions, GPUs and the cluster are told as they are", async () => {
  const cluster = new Cluster();
  const worker = cluster.addWorker({ gpus: 1, pages: 4, offsetNs: 5 * SECOND });
  const { client } = cluster.addClient();
  const [a, b] = cluster.serve(client, "2/a", "3/b");
  cluster.infer(client, a!);
  cluster.run();
  // There is no room for both: one is evicted.
  cluster.infer(client, b!);
  cluster.run();
  const metrics = cluster.metrics.metrics();
  const found = await scrape(metrics);
  assert.deepEqual(among(found, "clockwork_actions_total"), {
    'clockwork_actions_total{type="load_weights",status="success"}': 2,
    'clockwork_actions_total{type="infer",status="success"}': 2,
    'clockwork_actions_total{type="evict_weights",status="success"}': 1,
  });
  const gpu = '{worker="0",gpu="0"}';
  assert.equal(found.get(`clockwork_gpu_pages${gpu}`), 4);
  assert.equal(found.get(`clockwork_gpu_used_pages${gpu}`), 3);
  assert.equal(found.get(`clockwork_gpu_loaded_models${gpu}`), 1);
  assert.equal(found.get(`clockwork_gpu_actions_in_flight${gpu}`), 0);
  assert.equal(found.get("clockwork_models"), 2);
  const busy = found.get('clockwork_gpu_busy_seconds_total{worker="0",gpu="0",engine="infer"}')!;
  assert.ok(Math.abs(busy - 2 * 0.003) < 1e-9, `${busy}`);
  const offset = found.get('clockwork_worker_clock_offset_seconds{worker="0"}')!;
  assert.ok(Math.abs(offset + 5) < 0.001, `${offset}`);
  assert.equal(found.get("clockwork_batch_size_count"), 2);
  // In flight, and waiting, while one runs.
  cluster.infer(client, b!);
  cluster.clock.advance(1 * MS);
  const during = await scrape(metrics);
  assert.equal(during.get(`clockwork_gpu_actions_in_flight${gpu}`), 1);
  assert.equal(during.get("clockwork_unanswered_requests"), 1);
  assert.equal(during.get('clockwork_model_unanswered_requests{model="3/b"}'), 1);
  // A worker that is gone takes its series with it.
  worker.link.cut();
  cluster.run();
  const after = await scrape(metrics);
  assert.deepEqual(among(after, "clockwork_gpu_"), {});
  assert.deepEqual(among(after, "clockwork_worker_"), {});
  assert.equal(after.get("clockwork_unanswered_requests"), 0);
});

Deno.test("a worker tells of its own", async () => {
  const cluster = new Cluster();
  const worker = cluster.addWorker({ gpus: 2, pages: 4 });
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "2/a", "1/b", "1/c");
  cluster.infer(client, model!);
  cluster.run();
  const found = await scrape(worker.metrics.metrics());
  const ran = 'clockwork_worker_actions_total{type="infer",status="success"}';
  assert.equal(found.get(ran), 1);
  assert.equal(found.get("clockwork_worker_models"), 3);
  assert.equal(found.get("clockwork_worker_pending_actions"), 0);
  const used = Object.values(among(found, "clockwork_worker_gpu_used_pages"));
  assert.deepEqual(used.sort(), [0, 2]);
  assert.deepEqual(among(found, "clockwork_worker_gpu_up"), {
    'clockwork_worker_gpu_up{gpu="0"}': 1,
    'clockwork_worker_gpu_up{gpu="1"}': 1,
  });
  const exec = found.get('clockwork_worker_task_duration_seconds_sum{task="exec"}')!;
  assert.ok(Math.abs(exec - 0.003) < 1e-9);
  assert.equal(found.get("clockwork_worker_batch_size_count"), 1);
});

Deno.test("traffic is told of links that have ended, too", async () => {
  const cluster = new Cluster();
  const { server } = cluster.addWorker();
  const { client } = cluster.addClient();
  cluster.serve(client, "2/a");
  const ofController = networkMetrics(() => cluster.controller.peers(), () => 0);
  const received = 'clockwork_network_messages_total{peer="client",direction="received"}';
  const before = await scrape(ofController);
  assert.equal(before.get('clockwork_connections{peer="client"}'), 1);
  assert.equal(before.get('clockwork_connections{peer="worker"}'), 1);
  assert.equal(before.get(received), 1);
  client.close();
  cluster.run();
  const after = await scrape(ofController);
  assert.equal(after.get('clockwork_connections{peer="client"}'), 0);
  assert.equal(after.get(received), 1);
  // What one side has sent, the other has received.
  const ofWorker = await scrape(networkMetrics(() => server.peers(), () => 0));
  assert.equal(
    ofWorker.get('clockwork_network_bytes_total{peer="controller",direction="received"}'),
    after.get('clockwork_network_bytes_total{peer="worker",direction="sent"}'),
  );
});
