import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import type { ActionRecord, DecidedAction, RequestRecord } from "./records.ts";
import { Summary } from "./summary.ts";

const NO_TRAFFIC = { sentBytes: 0, sentMessages: 0, receivedBytes: 0, receivedMessages: 0 };

function request(latencyNs: number, more: Partial<RequestRecord> = {}): RequestRecord {
  return {
    requestId: 0,
    userId: 0,
    modelId: 0,
    sloFactor: 0,
    arrivalNs: 1000,
    deadlineNs: 1000 + 100 * MS,
    departureNs: 1000 + latencyNs,
    status: 0,
    arrivalCount: 0,
    departureCount: 0,
    cold: false,
    ...more,
  };
}

function action(
  type: "Infer" | "LoadWeights" | "EvictWeights",
  workerId: number,
  gpuId: number,
  tookNs: number,
  endToEndNs: number,
  more: Partial<ActionRecord> & { readonly batchSize?: number } = {},
): ActionRecord {
  const sentNs = 5 * SECOND;
  const what = {
    gpu: { workerId, gpuId, pages: 1 },
    modelId: 0,
    expectedNs: 0,
    expectedEndNs: 0,
    queued: 0,
    copiesLoaded: 0,
  };
  const batchSize = more.batchSize ?? 1;
  const decided: DecidedAction = type === "Infer"
    ? { ...what, type, batchSize }
    : { ...what, type };
  return {
    actionId: 0,
    type: { LoadWeights: 1, Infer: 2, EvictWeights: 3 }[type],
    action: decided,
    status: 0,
    sentNs,
    beginNs: sentNs,
    endNs: sentNs + tookNs,
    copyOutputEndNs: 0,
    receivedByWorkerNs: 0,
    sentByWorkerNs: 0,
    enqueuedNs: sentNs + endToEndNs,
    gpuClockBefore: 0,
    gpuClock: 1380,
    goodput: 1,
    ...more,
  };
}

Deno.test("a summary has a line for each engine that did something, in order of GPUs", () => {
  const summary = new Summary(0);
  summary.addAction(action("Infer", 1, 0, 2 * MS, 3 * MS));
  summary.addAction(action("Infer", 0, 10, 4 * MS, 5 * MS, { batchSize: 4, gpuClock: 1200 }));
  summary.addAction(action("Infer", 0, 10, 2 * MS, 9 * MS));
  summary.addAction(action("Infer", 0, 2, 2 * MS, 3 * MS));
  summary.addAction(action("LoadWeights", 0, 2, 8.4 * MS, 9.67 * MS, { gpuClock: 0 }));
  // What failed, and evictions, took no time worth telling.
  summary.addAction(action("Infer", 0, 3, 2 * MS, 3 * MS, { status: 81 }));
  summary.addAction(action("EvictWeights", 0, 3, 0, 1 * MS));
  summary.addRequest(request(13.94 * MS));
  assert.deepEqual(summary.take(10 * SECOND, NO_TRAFFIC), [
    "W0-GPU2 LoadW min=8.40 max=8.40 mean=8.40 e2emean=9.67 e2emax=9.67 throughput=0.1 " +
    "utilization=0.00 clock=[0-0] norm_max=0.00 norm_mean=0.00",
    "W0-GPU2 Infer min=2.00 max=2.00 mean=2.00 e2emean=3.00 e2emax=3.00 throughput=0.1 " +
    "utilization=0.00 clock=[1380-1380] norm_max=2.00 norm_mean=2.00",
    // Two batches, of four requests and of one.
    "W0-GPU10 Infer min=2.00 max=4.00 mean=3.00 e2emean=7.00 e2emax=9.00 throughput=0.5 " +
    "utilization=0.00 clock=[1200-1380] norm_max=4.00 norm_mean=3.00",
    "W1-GPU0 Infer min=2.00 max=2.00 mean=2.00 e2emean=3.00 e2emax=3.00 throughput=0.1 " +
    "utilization=0.00 clock=[1380-1380] norm_max=2.00 norm_mean=2.00",
    "Client throughput=0.1 success=100.00% min=13.9 max=13.9 mean=13.9",
    "Network->Workers: 0.0MB/s (0 msgs) snd, 0.0MB/s (0 msgs) rcv,",
  ]);
});

Deno.test("utilization is the part of the time in which the engine worked", () => {
  const summary = new Summary(2 * SECOND);
  for (let i = 0; i < 200; i++) summary.addAction(action("Infer", 0, 0, 3.32 * MS, 4 * MS));
  const [line] = summary.take(3 * SECOND, NO_TRAFFIC);
  assert.match(line!, /throughput=200\.0 utilization=0\.66 /);
});

Deno.test("success counts what was answered by its deadline; latencies are those of results", () => {
  const summary = new Summary(0);
  summary.addRequest(request(10 * MS));
  summary.addRequest(request(100 * MS));
  summary.addRequest(request(100 * MS + 1));
  summary.addRequest(request(443 * MS));
  summary.addRequest(request(1 * MS, { status: 8 }));
  summary.addRequest(request(1 * MS, { status: 1 }));
  const [line] = summary.take(SECOND, NO_TRAFFIC);
  assert.equal(line, "Client throughput=6.0 success=33.33% min=10.0 max=443.0 mean=163.3");
});

Deno.test("each summary is of the time since the last", () => {
  const summary = new Summary(0);
  const mib = 2 ** 20;
  const traffic = { sentBytes: 314 * mib, sentMessages: 3610, receivedBytes: 14 * mib };
  summary.addRequest(request(5 * MS, { status: 7 }));
  summary.addAction(action("Infer", 0, 0, 3 * MS, 4 * MS));
  assert.deepEqual(summary.take(10 * SECOND, { ...traffic, receivedMessages: 3605 }).slice(1), [
    "Client throughput=0.1 success=0.00% min=0.0 max=0.0 mean=0.0",
    "Network->Workers: 31.4MB/s (361 msgs) snd, 1.4MB/s (361 msgs) rcv,",
  ]);
  assert.deepEqual(summary.take(20 * SECOND, { ...traffic, receivedMessages: 3615 }), [
    "Client throughput=0.0 success=100.00% min=0.0 max=0.0 mean=0.0",
    "Network->Workers: 0.0MB/s (0 msgs) snd, 0.0MB/s (1 msgs) rcv,",
  ]);
});
