import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { RequestStatus } from "../core/status.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { Direct } from "./direct.ts";
import { Echo } from "./echo.ts";
import { Stress } from "./stress.ts";
import { RESNET50, TestCluster } from "./test_cluster.ts";

Deno.test("ECHO answers known models at once, without a GPU", () => {
  const cluster = new TestCluster(new VirtualClock());
  cluster.scheduler = new Echo(cluster);
  cluster.setModel(0, RESNET50);
  assert.equal(cluster.submit(0, 100 * MS).status, RequestStatus.success);
  assert.equal(cluster.submit(1, 100 * MS).status, RequestStatus.invalidRequest);
  cluster.scheduler.removeModel(0);
  assert.equal(cluster.submit(0, 100 * MS).status, RequestStatus.invalidRequest);
  assert.deepEqual(cluster.sent, []);
});

Deno.test("DIRECT forwards each request at once, loads on first use, and evicts the oldest", () => {
  const cluster = new TestCluster(new VirtualClock());
  cluster.plans = false;
  cluster.scheduler = new Direct(cluster.clock, cluster);
  assert.equal(cluster.submit(0, 100 * MS).status, RequestStatus.invalidRequest);
  cluster.setModel(0, RESNET50);
  assert.equal(cluster.submit(0, 100 * MS).status, RequestStatus.error, "no GPU");
  cluster.addGpu(0, { pages: 14 });
  for (const model of [1, 2]) cluster.setModel(model, RESNET50);
  cluster.requests.length = 0;
  for (const model of [0, 1, 1, 2, 0]) {
    cluster.submit(model, 100 * MS);
    cluster.clock.advance(50 * MS);
  }
  assert.deepEqual(cluster.sent.map(({ type, modelId }) => `${type} ${modelId}`), [
    "LoadWeights 0",
    "Infer 0",
    "LoadWeights 1",
    "Infer 1",
    "Infer 1",
    "EvictWeights 0",
    "LoadWeights 2",
    "Infer 2",
    "EvictWeights 1",
    "LoadWeights 0",
    "Infer 0",
  ]);
  assert.ok(cluster.requests.every(({ good }) => good), "those that came first waited for weights");
});

Deno.test("DIRECT answers for a lost GPU, and gives its models to another", () => {
  const cluster = new TestCluster(new VirtualClock());
  cluster.plans = false;
  cluster.scheduler = new Direct(cluster.clock, cluster);
  const first = cluster.addGpu(0);
  cluster.setModel(0, RESNET50);
  cluster.submit(0, 100 * MS);
  cluster.clock.advance(50 * MS);
  const lost = cluster.submit(0, 100 * MS);
  cluster.loseGpu(first);
  assert.equal(lost.status, RequestStatus.error);
  cluster.addGpu(1);
  const served = cluster.submit(0, 100 * MS);
  cluster.clock.advance(50 * MS);
  assert.equal(served.status, RequestStatus.success);
});

Deno.test("STRESS has all pages again of a model that is removed while its weights are on the way", () => {
  const cluster = new TestCluster(new VirtualClock());
  cluster.plans = false;
  cluster.scheduler = new Stress(cluster.clock, cluster);
  const gpu = cluster.addGpu(0, { pages: 14 });
  for (let model = 0; model < 5; model++) cluster.setModel(model, RESNET50);
  // Two at a time fit. The worker forgets the weights with the model.
  for (let i = 0; i < 2; i++) {
    const leaving = cluster.sent.findLast(({ type }) => type === "LoadWeights")!.modelId;
    cluster.scheduler.removeModel(leaving);
    cluster.clock.advance(9 * MS);
    cluster.dropWeights(gpu, leaving);
  }
  cluster.clock.advance(SECOND);
  cluster.sent.length = 0;
  cluster.clock.advance(SECOND);
  assert.ok(cluster.sent.filter(({ type }) => type === "LoadWeights").length > 50);
});

Deno.test("STRESS keeps every GPU executing and loading, within its pages, and serves no clients", () => {
  const cluster = new TestCluster(new VirtualClock());
  cluster.plans = false;
  cluster.scheduler = new Stress(cluster.clock, cluster);
  cluster.addGpu(0, { pages: 21 });
  cluster.addGpu(1, { pages: 1000 });
  for (let model = 0; model < 5; model++) cluster.setModel(model, RESNET50);
  assert.equal(cluster.submit(0, 100 * MS).status, RequestStatus.invalidRequest);
  cluster.clock.advance(10 * SECOND);
  for (const gpuId of [0, 1]) {
    const sent = cluster.sent.filter(({ gpu }) => gpu.gpuId === gpuId);
    const infers = sent.filter(({ type }) => type === "Infer").length;
    const loads = sent.filter(({ type }) => type === "LoadWeights").length;
    assert.ok(infers > 0.95 * 10 / 17.3e-3, `${infers} batches of 16 in 10 s`);
    assert.ok(loads > 0.5 * 10 / 8.4e-3, `${loads} loads in 10 s`);
  }
  cluster.scheduler.close(RequestStatus.error, "end");
  cluster.clock.advance(SECOND);
  const count = cluster.sent.length;
  cluster.clock.advance(SECOND);
  assert.equal(cluster.sent.length, count, "nothing is sent after close");
});
