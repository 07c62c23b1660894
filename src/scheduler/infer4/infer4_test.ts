import assert from "node:assert/strict";
import { MS, SECOND } from "../../core/clock.ts";
import { Random } from "../../core/random.ts";
import { RequestStatus } from "../../core/status.ts";
import { VirtualClock } from "../../core/virtual_clock.ts";
import type { InferAction } from "../scheduler.ts";
import { RESNET50, TestCluster, type TestRequest } from "../test_cluster.ts";
import { Infer4 } from "./infer4.ts";
import type { Infer4Options } from "./options.ts";

function cluster(options: Partial<Infer4Options> = {}): TestCluster {
  const clock = new VirtualClock();
  const made = new TestCluster(clock);
  made.scheduler = new Infer4(clock, made, { maxBatchSize: 16, maxGpus: 10_000, ...options });
  return made;
}

/** A cluster of one GPU on which model 0 is loaded, and its queue empty. */
function warmCluster(options: Partial<Infer4Options> = {}): TestCluster {
  const made = cluster(options);
  made.addGpu(0);
  made.setModel(0, RESNET50);
  made.submit(0, SECOND);
  made.clock.advance(SECOND);
  assert.equal(made.requests[0]!.status, RequestStatus.success);
  made.sent.length = 0;
  made.requests.length = 0;
  return made;
}

function infers(made: TestCluster): InferAction<TestRequest>[] {
  return made.sent.filter((action) => action.type === "Infer");
}

const batches = (made: TestCluster) => infers(made).map(({ batchSize }) => batchSize);

Deno.test("a cold model is loaded on demand, on one GPU only, and its request is served", () => {
  const made = cluster();
  made.addGpu(0);
  made.addGpu(1);
  made.setModel(0, RESNET50);
  made.clock.advance(SECOND);
  assert.deepEqual(made.sent, [], "nothing is loaded without demand");
  const request = made.submit(0, 100 * MS);
  made.clock.advance(SECOND);
  assert.deepEqual(made.sent.map(({ type }) => type), ["LoadWeights", "Infer"]);
  assert.ok(request.good);
  assert.equal(made.holders(0), 1);
});

Deno.test("two cold models go to different GPUs", () => {
  const made = cluster();
  made.addGpu(0);
  made.addGpu(1);
  made.setModel(0, RESNET50);
  made.setModel(1, RESNET50);
  made.submit(0, 100 * MS);
  made.submit(1, 100 * MS);
  made.clock.advance(SECOND);
  const gpus = made.sent.filter(({ type }) => type === "LoadWeights").map(({ gpu }) => gpu.gpuId);
  assert.deepEqual(gpus.sort(), [0, 1]);
});

Deno.test("requests that wait together run as the batches that use the GPU best", () => {
  const made = warmCluster();
  // The first runs at once; the others gather until the next batch must be on its way.
  for (let i = 0; i < 1 + 16 + 8 + 3; i++) made.submit(0, 200 * MS);
  made.clock.advance(SECOND);
  assert.deepEqual(batches(made), [1, 16, 8, 3]);
  assert.ok(made.requests.every(({ good }) => good));
});

Deno.test("a batch that may still grow is sent no sooner than it must be, a full one schedule_ahead", () => {
  const made = warmCluster({ maxBatchSize: 2 });
  for (let i = 0; i < 4; i++) made.submit(0, 200 * MS);
  const startNs = made.clock.now();
  made.clock.advance(SECOND);
  // The GPU is free 3.4 ms after the first, then 5.3 ms after the second.
  const sentMs = infers(made).map(({ earliestNs }) => (earliestNs - startNs) / MS);
  assert.deepEqual(batches(made), [1, 2, 1]);
  assert.equal(sentMs[1], 0, "the full batch is sent along with the first");
  assert.ok(sentMs[2]! > 5 && sentMs[2]! < 8.7, `the last is sent at ${sentMs[2]} ms`);
});

Deno.test("a batch is no larger than its most urgent request allows", () => {
  const made = warmCluster();
  made.submit(0, 200 * MS);
  // The GPU is free in 3.4 ms; a batch of 8 would end at 15.8, one of 4 at 10.9.
  made.submit(0, 12 * MS);
  for (let i = 0; i < 6; i++) made.submit(0, 200 * MS);
  made.clock.advance(SECOND);
  assert.deepEqual(batches(made), [1, 4, 3]);
  assert.ok(made.requests.every(({ good }) => good));
});

Deno.test("docs/scheduler.md's timeline is what happens", () => {
  const made = cluster({ maxBatchSize: 8 });
  made.oneWayNs = MS;
  made.addGpu(0);
  const [A, B, busy] = [0, 1, 2];
  made.setModel(A, RESNET50);
  made.setModel(B, RESNET50);
  made.setModel(busy, { ...RESNET50, batchSizes: [1], execNs: [5 * MS] });
  for (const model of [A, B, busy]) made.submit(model, SECOND);
  made.clock.advance(SECOND);
  made.sent.length = 0;
  const startNs = made.clock.now();
  made.submit(busy, SECOND);
  for (let i = 0; i < 9; i++) made.submit(A, 90 * MS);
  made.submit(B, 40 * MS);
  made.clock.advance(SECOND);
  const timeline = infers(made).slice(1).map((action) => [
    action.modelId === A ? "A" : "B",
    action.batchSize,
    ...[action.earliestNs, action.expectedEndNs - action.expectedNs, action.expectedEndNs]
      .map((ns) => Number(((ns - startNs) / MS).toFixed(1))),
  ]);
  assert.deepEqual(timeline, [
    ["A", 8, 0, 6, 18.4],
    ["B", 1, 15.4, 18.4, 21.7],
    ["A", 1, 18.7, 21.7, 25],
  ]);
});

Deno.test("a less urgent model goes first if it uses the GPU better and makes nobody late", () => {
  const made = warmCluster();
  made.setModel(1, RESNET50);
  made.submit(1, SECOND);
  made.clock.advance(SECOND);
  made.sent.length = 0;
  made.submit(0, 100 * MS);
  made.submit(1, 60 * MS);
  for (let i = 0; i < 8; i++) made.submit(0, 100 * MS);
  made.clock.advance(SECOND);
  assert.deepEqual(infers(made).map(({ modelId, batchSize }) => [modelId, batchSize]), [
    [0, 1],
    [0, 8],
    [1, 1],
  ]);
  assert.ok(made.requests.every(({ good }) => good));
});

Deno.test("a request that cannot be in time is refused at once, and those behind it are served", () => {
  const made = warmCluster();
  for (let i = 0; i < 4; i++) made.submit(0, 200 * MS);
  const hopeless = made.submit(0, 5 * MS);
  assert.equal(hopeless.status, RequestStatus.couldNotStartInTime);
  const after = made.submit(0, 50 * MS);
  made.clock.advance(SECOND);
  assert.ok(after.good);
});

Deno.test("under overload the largest batches run, and those passed over are told", () => {
  const made = warmCluster();
  const random = new Random(1);
  const rate = 4 * 16 / 17.3e-3;
  let t = made.clock.now();
  const endNs = t + 5 * SECOND;
  while (t < endNs) {
    t += random.exponential(SECOND / rate);
    made.clock.run(t);
    made.submit(0, 100 * MS);
  }
  made.clock.advance(SECOND);
  const good = made.requests.filter((request) => request.good).length;
  const best = 5 * 16 / 17.3e-3;
  assert.ok(good > 0.95 * best, `${good} good, the best batch schedule gives ${best}`);
  assert.ok(made.requests.every(({ status }) => status !== null));
});

Deno.test("a model whose demand one GPU cannot serve is copied, and no further than needed", () => {
  const made = cluster();
  for (let gpu = 0; gpu < 4; gpu++) made.addGpu(gpu);
  made.setModel(0, RESNET50);
  made.setModel(1, RESNET50);
  // A closed loop of 12: of each 33 ms of a GPU, they want 40.
  made.onAnswer = ({ modelId }) => {
    if (modelId === 0 && made.clock.now() < 2 * SECOND) {
      made.clock.at(made.clock.now(), () => made.submit(0, 100 * MS));
    }
  };
  for (let i = 0; i < 12; i++) made.submit(0, 100 * MS);
  made.submit(1, 100 * MS);
  made.clock.advance(2 * SECOND);
  assert.equal(made.holders(0), 2, "model 0 is copied");
  assert.equal(made.holders(1), 1, "model 1 is not");
});

Deno.test("the least recently used model without demand is evicted", () => {
  const made = cluster();
  made.addGpu(0, { pages: 21 });
  for (let model = 0; model < 4; model++) made.setModel(model, RESNET50);
  for (const model of [0, 1, 2, 0, 3]) {
    made.submit(model, 100 * MS);
    made.clock.advance(200 * MS);
  }
  const evicted = made.sent.filter(({ type }) => type === "EvictWeights");
  assert.deepEqual(evicted.map(({ modelId }) => modelId), [1]);
  assert.ok(made.requests.every(({ good }) => good));
});

Deno.test("windows follow the network: an input's transfer is waited for, and not by others", () => {
  const made = cluster();
  made.oneWayNs = 5 * MS;
  made.nsPerByte = 1;
  made.addGpu(0);
  made.setModel(0, { ...RESNET50, inputBytes: 30_000_000 });
  made.setModel(1, { ...RESNET50, inputBytes: 1000 });
  for (const model of [0, 1]) made.submit(model, SECOND);
  made.clock.advance(2 * SECOND);
  made.sent.length = 0;
  const startNs = made.clock.now();
  const large = made.submit(0, 100 * MS);
  const small = made.submit(1, 100 * MS);
  made.clock.advance(SECOND);
  const [first, second] = infers(made);
  // 5 ms one way and 30 ms for the bytes; then the execution.
  assert.equal(first!.expectedEndNs - startNs, (5 + 30 + 3.3) * MS);
  assert.equal(first!.latestNs - startNs, (5 + 30 + 10) * MS);
  assert.ok(second!.latestNs > second!.earliestNs + 5 * MS);
  assert.ok(large.good && small.good);
  // A deadline that the way back alone would break is refused at once.
  assert.equal(made.submit(1, 13 * MS).status, RequestStatus.couldNotStartInTime);
});

Deno.test("weights that vanished from a GPU are loaded again, and the request is served", () => {
  const made = warmCluster();
  made.dropWeights({ workerId: 0, gpuId: 0, pages: 1000 }, 0);
  const request = made.submit(0, 100 * MS);
  made.clock.advance(SECOND);
  assert.ok(request.good);
  assert.deepEqual(made.sent.map(({ type }) => type), ["Infer", "LoadWeights", "Infer"]);
});

Deno.test("a stuck GPU gets no more work, and its peer serves", () => {
  const made = cluster();
  const stuck = made.addGpu(0);
  made.addGpu(1);
  made.setModel(0, RESNET50);
  // Enough at once for both GPUs to get the model.
  for (let i = 0; i < 64; i++) made.submit(0, 100 * MS);
  made.clock.advance(SECOND);
  assert.equal(made.holders(0), 2);
  made.stickGpu(stuck, 300 * MS);
  made.sent.length = 0;
  made.requests.length = 0;
  for (let i = 0; i < 20; i++) {
    made.clock.advance(10 * MS);
    made.submit(0, 100 * MS);
  }
  made.clock.advance(SECOND);
  const toStuck = infers(made).filter(({ gpu }) => gpu.gpuId === 0);
  assert.ok(toStuck.length <= 6, `${toStuck.length} actions were given to a stuck GPU`);
  const good = made.requests.filter((request) => request.good).length;
  assert.ok(good >= 17, `${good} of 20`);
});

Deno.test("a lost GPU's requests run elsewhere if there is time, and are answered in any case", () => {
  const made = cluster();
  const lost = made.addGpu(0);
  made.setModel(0, RESNET50);
  const early = made.submit(0, 100 * MS);
  made.clock.advance(10 * MS);
  made.addGpu(1);
  const late = made.submit(0, 100 * MS);
  made.loseGpu(lost);
  made.clock.advance(SECOND);
  assert.ok(early.good);
  assert.ok(late.good);
  made.loseGpu({ workerId: 0, gpuId: 1, pages: 1000 });
  const nowhere = made.submit(0, 100 * MS);
  assert.equal(nowhere.status, RequestStatus.unavailable);
});

Deno.test("a slow worker's estimates become its own", () => {
  const made = cluster();
  made.addGpu(0, { workerId: 7, slowness: 3 });
  made.setModel(0, RESNET50, [7]);
  for (let i = 0; i < 12; i++) {
    made.submit(0, 100 * MS);
    made.clock.advance(100 * MS);
  }
  const [last] = infers(made).slice(-1);
  assert.equal(last!.expectedNs, 9.9 * MS);
});

Deno.test("one hiccup longer than the SLO does not keep a model from running for ever", () => {
  const made = cluster();
  let hiccup = true;
  made.addGpu(0, { execNs: (ns) => hiccup ? 300 * MS : ns });
  made.setModel(0, RESNET50);
  made.submit(0, 100 * MS);
  made.clock.advance(SECOND);
  hiccup = false;
  for (let i = 0; i < 20; i++) {
    made.submit(0, 100 * MS);
    made.clock.advance(20 * MS);
  }
  const good = made.requests.filter((request) => request.good).length;
  assert.ok(good >= 15, `${good} of 20`);
});

Deno.test("a removed model is answered for, leaves the GPU when nothing uses it, and is unknown", () => {
  const made = warmCluster();
  const running = made.submit(0, 100 * MS);
  made.clock.advance(MS);
  for (let i = 0; i < 5; i++) made.submit(0, 100 * MS);
  made.scheduler.removeModel(0);
  assert.equal(made.submit(0, 100 * MS).status, RequestStatus.invalidRequest);
  made.clock.advance(SECOND);
  assert.ok(running.good);
  assert.ok(made.requests.every(({ status }) => status !== null));
  assert.equal(made.holders(0), 0);
});

Deno.test("after close everything is answered, and nothing is taken", () => {
  const made = cluster();
  made.addGpu(0);
  made.setModel(0, RESNET50);
  for (let i = 0; i < 5; i++) made.submit(0, 100 * MS);
  made.scheduler.close(RequestStatus.error, "shutting down");
  made.submit(0, 100 * MS);
  assert.ok(made.requests.every(({ status }) => status === RequestStatus.error));
});
