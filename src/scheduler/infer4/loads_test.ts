/** Which models get onto which GPUs when not every GPU can take every model. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../../core/clock.ts";
import { VirtualClock } from "../../core/virtual_clock.ts";
import { RESNET50, TestCluster } from "../test_cluster.ts";
import { Infer4 } from "./infer4.ts";

function cluster(): TestCluster {
  const clock = new VirtualClock();
  const made = new TestCluster(clock);
  made.scheduler = new Infer4(clock, made);
  return made;
}

const goodOf = (made: TestCluster, modelId: number) =>
  made.requests.filter((request) => request.modelId === modelId && request.good).length;

Deno.test("a model that few workers have is loaded there, however many others are idle", () => {
  const made = cluster();
  for (let workerId = 0; workerId < 20; workerId++) made.addGpu(0, { workerId });
  made.setModel(0, RESNET50, [13]);
  made.setModel(1, RESNET50, [13]);
  for (const modelId of [0, 1]) assert.equal(made.submit(modelId, 100 * MS).status, null);
  made.clock.advance(SECOND);
  assert.ok(made.requests.every(({ good }) => good));
});

Deno.test("a model goes where there is room, if the GPUs with least to do are full of what is in demand", () => {
  const made = cluster();
  // Eleven large models fill a GPU each, and always have requests; the twelfth GPU is busier, but has room.
  const large = Array.from({ length: 11 }, (_, i) => i);
  const [busy, cold] = [11, 12];
  for (const gpu of [...large, busy]) made.addGpu(gpu, { pages: 50 });
  for (const id of large) made.setModel(id, { ...RESNET50, weightsPages: 45 });
  for (const id of [busy, cold]) made.setModel(id, RESNET50);
  made.onAnswer = ({ modelId }) => {
    if (modelId === cold || made.clock.now() > SECOND) return;
    made.clock.at(made.clock.now(), () => made.submit(modelId, 200 * MS));
  };
  for (const id of large) for (let i = 0; i < 3; i++) made.submit(id, 200 * MS);
  for (let i = 0; i < 20; i++) made.submit(busy, 200 * MS);
  made.clock.advance(500 * MS);
  const request = made.submit(cold, 100 * MS);
  made.clock.advance(SECOND);
  assert.ok(request.good);
});

Deno.test("models that want more than all GPUs have do not keep others from being loaded", () => {
  const made = cluster();
  for (let gpu = 0; gpu < 2; gpu++) made.addGpu(gpu, { pages: 50 });
  const hot = [0, 1, 2, 3];
  const cold = 4;
  for (const id of [...hot, cold]) made.setModel(id, RESNET50);
  for (let i = 0; i < 500; i++) {
    for (const id of hot) made.submit(id, 100 * MS);
    if (i === 400) made.submit(cold, 100 * MS);
    made.clock.advance(MS);
  }
  assert.ok(made.holders(cold) > 0);
});

Deno.test("a model that no worker has for a while is loaded when one has it again", () => {
  const made = cluster();
  made.addGpu(0);
  made.addGpu(0, { workerId: 1 });
  made.setModel(0, RESNET50);
  const patient = made.submit(0, SECOND);
  made.clock.advance(100 * MS);
  assert.ok(patient.good);
  made.scheduler.setModel(0, new Map());
  made.loseGpu({ workerId: 0, gpuId: 0, pages: 1000 });
  // Requests overlap from here on: what is counted while no worker has the model stays counted.
  made.submit(0, 50 * MS);
  made.clock.advance(20 * MS);
  made.setModel(0, RESNET50, [1]);
  for (let i = 0; i < 20; i++) {
    made.submit(0, 50 * MS);
    made.clock.advance(20 * MS);
  }
  assert.ok(goodOf(made, 0) > 15, `${goodOf(made, 0)} of 20`);
});

Deno.test("a model that one GPU could hardly serve gets another before its requests are late", () => {
  const made = cluster();
  // Its batches take as long as its requests would one by one.
  const slow = { ...RESNET50, batchSizes: [1], execNs: [RESNET50.execNs[0]!] };
  for (let gpu = 0; gpu < 2; gpu++) made.addGpu(gpu);
  made.setModel(0, slow);
  made.submit(0, 100 * MS);
  made.clock.advance(50 * MS);
  assert.equal(made.holders(0), 1);
  // 303 a second, as many as it can serve at most, and some more at first.
  for (let i = 0; i < 12; i++) made.submit(0, 100 * MS);
  for (let i = 0; i < 300; i++) {
    made.submit(0, 100 * MS);
    made.clock.advance(3.3 * MS);
  }
  assert.equal(made.holders(0), 2);
  const latencies = made.requests.slice(50).map(({ answeredNs, arrivalNs }) =>
    answeredNs - arrivalNs
  );
  assert.ok(Math.max(...latencies) < 10 * MS, `${Math.max(...latencies)}`);
});
