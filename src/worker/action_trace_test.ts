/** A worker's telemetry, against a small scenario whose every value is known. */
import assert from "node:assert/strict";
import { MS } from "../core/clock.ts";
import { ActionStatus } from "../core/status.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import {
  workerActionColumns,
  type WorkerActionRecord,
  workerTaskColumns,
  type WorkerTaskRecord,
  type WorkerTelemetry,
} from "../telemetry/worker_records.ts";
import { WorkerMetrics } from "../telemetry/metrics/worker_metrics.ts";
import { ACTION_KINDS } from "../wire/describe.ts";
import { connectInMemory } from "../wire/memory_link.ts";
import { DEFAULT_WORKER_CONFIG } from "./config.ts";
import { EmulatedBackend } from "./emulated/backend.ts";
import { WorkerServer } from "./server.ts";
import { INPUT_BYTES, makeModel, TestController } from "./test_rig.ts";

function rig(telemetry: WorkerTelemetry) {
  const clock = new VirtualClock();
  const config = DEFAULT_WORKER_CONFIG;
  const backend = new EmulatedBackend({
    clock,
    gpus: 2,
    weightsCacheBytes: config.weights_cache_size,
    readModel: makeModel,
  });
  const server = new WorkerServer({ clock, backend, config, log: () => {}, telemetry });
  const connect = () => {
    const controller = new TestController(clock, clock);
    connectInMemory(
      { name: "controller", clock, accept: controller.accept },
      { name: "worker", clock, accept: server.accept },
      { latencyNs: 0 },
    );
    return controller;
  };
  return { clock, connect };
}

Deno.test("each action is recorded when it has ended, and each task of those that went well", () => {
  const actions: WorkerActionRecord[] = [];
  const tasks: WorkerTaskRecord[] = [];
  const { clock, connect } = rig({
    onAction: (record) => actions.push(record),
    onTask: (record) => tasks.push(record),
  });
  const [first, second] = [connect(), connect()];
  first.loadModel(0, "1/m", 1);
  clock.advance(100 * MS);
  first.loadWeights(0, 1);
  clock.advance(100 * MS);
  const startNs = clock.now();
  const window = { earliest_ns: startNs + MS, latest_ns: startNs + 2 * MS };
  const inputs = { batch_size: 2, input_sizes: [INPUT_BYTES, INPUT_BYTES] };
  first.infer(0, 1, { ...inputs, ...window });
  // While that runs, this one's time passes.
  second.infer(0, 1, { earliest_ns: startNs + MS, latest_ns: startNs + 3 * MS });
  clock.advance(100 * MS);
  second.send("GetWorkerState", {});
  clock.advance(0);
  first.evict(0, 1);
  clock.advance(100 * MS);

  const brief = (
    { controllerId, actionId, type, status, gpuId, modelId, batchSize }: WorkerActionRecord,
  ) => [controllerId, actionId, type, status, gpuId, modelId, batchSize];
  assert.deepEqual(actions.map(brief), [
    [0, 0, 0, 0, null, 0, 0],
    [0, 1, 1, 0, 1, 0, 0],
    [1, 0, 2, ActionStatus.execTooLate, 1, 0, 1],
    [0, 2, 2, 0, 1, 0, 2],
    [1, 1, 5, 0, null, null, 0],
    [0, 3, 3, 0, 1, 0, 0],
  ]);
  const late = actions[2]!;
  assert.deepEqual(late.window, { earliestNs: startNs + MS, latestNs: startNs + 3 * MS });
  assert.deepEqual([late.receivedNs, late.endedNs], [startNs, startNs + 3 * MS + 1]);
  assert.equal(actions[4]!.window, null);

  assert.deepEqual(tasks.map(({ task }) => task), [
    "load_model",
    "load_weights",
    "copy_input",
    "exec",
    "copy_output",
    "evict_weights",
  ]);
  const exec = tasks[3]!;
  assert.deepEqual([exec.controllerId, exec.actionId, exec.gpuId, exec.batchSize], [0, 2, 1, 2]);
  const [input, , output] = tasks.slice(2);
  assert.ok(input!.beginNs === startNs + MS && input!.endNs <= exec.beginNs);
  assert.ok(exec.endNs > exec.beginNs && exec.endNs <= output!.beginNs);
  assert.equal(output!.endNs, actions[3]!.endedNs);
  assert.equal(tasks[1]!.endNs - tasks[1]!.beginNs, 10 * MS);
});

Deno.test("what a controller leaves behind is recorded too, and once", () => {
  const actions: WorkerActionRecord[] = [];
  const { clock, connect } = rig({ onAction: (record) => actions.push(record) });
  const controller = connect();
  controller.loadModel(0, "1/m", 1);
  clock.advance(100 * MS);
  controller.loadWeights(0);
  clock.advance(100 * MS);
  for (let i = 0; i < 3; i++) controller.infer(0);
  clock.advance(0);
  controller.link.close("enough");
  clock.advance(100 * MS);
  const statuses = actions.slice(2).map(({ actionId, status }) => [actionId, status]);
  // The first was running, and ended well; the others were forgotten.
  assert.deepEqual(statuses.sort(), [[2, 0], [3, 1], [4, 1]]);
});

Deno.test("a worker's logs have an integer in every column but that of the task's name", () => {
  const epochNs = (ns: number) => `${1_700_000_000_000_000_000n + BigInt(ns)}`;
  const action: WorkerActionRecord = {
    controllerId: 0,
    actionId: 7,
    type: 5,
    status: 0,
    gpuId: null,
    modelId: null,
    batchSize: 0,
    receivedNs: 1000,
    window: null,
    endedNs: 1500.4,
  };
  const row = (record: WorkerActionRecord) =>
    workerActionColumns(epochNs).map(([name, read]) => `${name}=${read(record)}`).join(" ");
  assert.equal(
    row(action),
    "t=1700000000000001000 controller_id=0 action_id=7 action_type=5 status=0 gpu_id=-1 " +
      "model_id=-1 batch_size=0 earliest=0 latest=0 ended=500",
  );
  const infer = { gpuId: 1, modelId: 2, window: { earliestNs: 900, latestNs: 4000 } };
  assert.match(
    row({ ...action, ...infer }),
    / gpu_id=1 model_id=2 batch_size=0 earliest=-100 latest=3000 ended=500$/,
  );
  const task: WorkerTaskRecord = {
    controllerId: 0,
    actionId: 7,
    task: "exec",
    gpuId: 1,
    modelId: 2,
    batchSize: 4,
    beginNs: 1000,
    endNs: 3500,
  };
  assert.equal(
    workerTaskColumns(epochNs).map(([name, read]) => `${name}=${read(task)}`).join(" "),
    "t=1700000000000001000 controller_id=0 action_id=7 task=exec gpu_id=1 model_id=2 " +
      "batch_size=4 duration=2500",
  );
});

Deno.test("actions of every kind are counted", () => {
  const metrics = new WorkerMetrics(() => ({ models: 0, pending: 0, gpus: [], controllers: [] }));
  for (const type of ACTION_KINDS.keys()) {
    metrics.onAction({
      controllerId: 0,
      actionId: type,
      type,
      status: 0,
      gpuId: null,
      modelId: null,
      batchSize: 0,
      receivedNs: 0,
      window: null,
      endedNs: 1,
    });
  }
  const counted = metrics.metrics().find(({ name }) => name === "clockwork_worker_actions_total");
  assert.equal([...counted!.read()].length, ACTION_KINDS.length);
});
