/** The columns of both logs, against a small scenario whose every value is known. */
import assert from "node:assert/strict";
import { MS } from "../core/clock.ts";
import { Cluster, ScriptedWorker, status } from "../controller/test_rig.ts";
import { OUTPUT_BYTES } from "../worker/test_rig.ts";
import { actionColumns, type ActionRecord, requestColumns, type RequestRecord } from "./records.ts";

const REQUEST_COLUMNS = "t request_id result user_id model_id slo_factor latency deadline " +
  "deadline_met arrival_count departure_count is_coldstart";
const ACTION_COLUMNS = "t action_id action_type status worker_id gpu_id model_id batch_size " +
  "expected_exec_duration worker_exec_duration expected_exec_complete worker_exec_complete " +
  "expected_gpu_clock worker_gpu_clock_before worker_gpu_clock worker_copy_output_complete " +
  "worker_action_received worker_result_sent controller_result_enqueue " +
  "controller_action_duration goodput requests_queued copies_loaded";

/** Past 2^53 ns, as the epoch is: such times must not go through a number. */
const EPOCH_NS = 1_700_000_000_000_000_001n;
const epochNs = (ns: number) => (EPOCH_NS + BigInt(ns)).toString();

type Row = Record<string, string | number>;
const requestRow = (record: RequestRecord): Row =>
  Object.fromEntries(requestColumns(epochNs).map(([name, read]) => [name, read(record)]));
const actionRow = (record: ActionRecord): Row =>
  Object.fromEntries(actionColumns(epochNs).map(([name, read]) => [name, read(record)]));

Deno.test("both logs have the original's columns, in its order", () => {
  assert.equal(requestColumns(epochNs).map(([name]) => name).join(" "), REQUEST_COLUMNS);
  assert.equal(actionColumns(epochNs).map(([name]) => name).join(" "), ACTION_COLUMNS);
});

Deno.test("deadline_met needs a result, and one in time", () => {
  const record: RequestRecord = {
    requestId: 3,
    userId: 9,
    modelId: 5,
    sloFactor: 2.5,
    arrivalNs: 100,
    deadlineNs: 200,
    departureNs: 200,
    status: 0,
    arrivalCount: 0,
    departureCount: 4,
    cold: true,
  };
  const row = requestRow(record);
  assert.deepEqual(row, {
    t: "1700000000000000101",
    request_id: 3,
    result: 0,
    user_id: 9,
    model_id: 5,
    slo_factor: 2.5,
    latency: 100,
    deadline: 100,
    deadline_met: 1,
    arrival_count: 0,
    departure_count: 4,
    is_coldstart: 1,
  });
  assert.equal(requestRow({ ...record, departureNs: 201 })["deadline_met"], 0);
  assert.equal(requestRow({ ...record, status: 7 })["deadline_met"], 0);
  assert.equal(requestRow({ ...record, cold: false })["is_coldstart"], 0);
  // Behind another request, it does not wait for the weights on its own account.
  assert.equal(requestRow({ ...record, arrivalCount: 1 })["is_coldstart"], 0);
});

/** A cold model gets two requests at once, then one that fails; 0.05 ms from node to node. */
function scenario() {
  const cluster = new Cluster();
  let fail = false;
  const worker = new ScriptedWorker(cluster.clock, (action, answer) => {
    if (action.kind !== "Infer") return false;
    if (fail) {
      answer("ErrorResult", { action_type: 2, status: 2, message: "failed" });
      return true;
    }
    const count = action.header.batch_size;
    const ns = (2 + count) * MS;
    worker.after(ns, () => {
      const exec = worker.took(ns);
      worker.after(MS, () =>
        answer("InferResult", {
          gpu_id: 0,
          copy_input: worker.took(0),
          exec,
          copy_output: worker.took(MS),
          gpu_clock_before: 1380,
          gpu_clock: 1377,
          output_sizes: new Array(count).fill(OUTPUT_BYTES),
        }, new Uint8Array(count * OUTPUT_BYTES)));
    });
    return true;
  });
  cluster.connectWorker(worker.accept);
  const { client } = cluster.addClient({ userId: 42 });
  const [model] = cluster.serve(client, "m");
  const startNs = cluster.clock.now() + 50_000;
  const first = cluster.infer(client, model!, { sloFactor: 10 });
  const second = cluster.infer(client, model!, { deadlineNs: 100 * MS });
  cluster.run();
  fail = true;
  const failedNs = cluster.clock.now() + 50_000;
  const failed = cluster.infer(client, model!);
  cluster.run();
  assert.deepEqual([first, second, failed].map(status), [0, 0, 1]);
  return { cluster, startNs, failedNs };
}

Deno.test("the request log tells what became of each request", () => {
  const { cluster, startNs, failedNs } = scenario();
  const rows = cluster.requests.map(requestRow);
  // Both were answered by one batch: 10.1 ms of load, 4 + 1 ms of inference, 0.1 ms under way.
  const latency = rows[0]!["latency"] as number;
  assert.ok(Math.abs(latency - 15.2 * MS) < 0.01 * MS, `${latency}`);
  assert.deepEqual(rows, [
    {
      t: epochNs(startNs),
      request_id: 0,
      result: 0,
      user_id: 42,
      model_id: 0,
      slo_factor: 10,
      latency,
      deadline: 30 * MS,
      deadline_met: 1,
      arrival_count: 0,
      departure_count: 1,
      is_coldstart: 1,
    },
    {
      t: epochNs(startNs),
      request_id: 1,
      result: 0,
      user_id: 42,
      model_id: 0,
      slo_factor: 0,
      latency,
      // The client takes the way to the controller and back off what it allows.
      deadline: 99.9 * MS,
      deadline_met: 1,
      arrival_count: 1,
      departure_count: 0,
      is_coldstart: 0,
    },
    {
      t: epochNs(failedNs),
      request_id: 2,
      result: 1,
      user_id: 42,
      model_id: 0,
      slo_factor: 0,
      latency: 0.1 * MS,
      deadline: 100 * MS,
      deadline_met: 0,
      arrival_count: 0,
      departure_count: 0,
      is_coldstart: 0,
    },
  ]);
});

Deno.test("the action log tells what each action was to do, and did", () => {
  const { cluster, startNs, failedNs } = scenario();
  const rows = cluster.actions.map(actionRow);
  assert.equal(rows.length, 3);
  const [load, infer, failed] = rows;
  // What was expected is the scheduler's affair, but must be about right.
  const expectedEnds = cluster.actions.map(({ action, sentNs }, i) => {
    const expectedNs = Math.round(action.expectedEndNs - sentNs);
    assert.ok(Math.abs(expectedNs - [10.05, 4.05, 3.05][i]! * MS) < MS, `${expectedNs}`);
    return expectedNs;
  });
  const place = { worker_id: 0, gpu_id: 0, model_id: 0 };
  const noClock = { expected_gpu_clock: 0, worker_gpu_clock_before: 0, worker_gpu_clock: 0 };
  const received = { worker_action_received: 0.05 * MS };
  assert.deepEqual(load, {
    ...place,
    ...noClock,
    ...received,
    t: epochNs(startNs),
    // LoadModelFromDisk was action 0.
    action_id: 1,
    action_type: 1,
    status: 0,
    batch_size: 0,
    expected_exec_duration: 10 * MS,
    worker_exec_duration: 10 * MS,
    expected_exec_complete: expectedEnds[0],
    worker_exec_complete: 10.05 * MS,
    worker_copy_output_complete: 0,
    worker_result_sent: 10.05 * MS,
    controller_result_enqueue: 10.1 * MS,
    controller_action_duration: 10.1 * MS,
    goodput: 1,
    requests_queued: 1,
    copies_loaded: 1,
  });
  assert.deepEqual(infer, {
    ...place,
    ...received,
    t: epochNs(startNs + 10.1 * MS),
    action_id: 2,
    action_type: 2,
    status: 0,
    batch_size: 2,
    expected_exec_duration: 4 * MS,
    worker_exec_duration: 4 * MS,
    expected_exec_complete: expectedEnds[1],
    worker_exec_complete: 4.05 * MS,
    expected_gpu_clock: 1380,
    worker_gpu_clock_before: 1380,
    worker_gpu_clock: 1377,
    worker_copy_output_complete: 5.05 * MS,
    worker_result_sent: 5.05 * MS,
    controller_result_enqueue: 5.1 * MS,
    controller_action_duration: 5.1 * MS,
    goodput: 1,
    requests_queued: 2,
    copies_loaded: 1,
  });
  // Nothing is known of when it ran: 0, not a time before it was sent.
  assert.deepEqual(failed, {
    ...place,
    ...noClock,
    ...received,
    t: epochNs(failedNs),
    action_id: 3,
    action_type: 2,
    status: 2,
    batch_size: 1,
    expected_exec_duration: 3 * MS,
    worker_exec_duration: 0,
    expected_exec_complete: expectedEnds[2],
    worker_exec_complete: 0,
    worker_copy_output_complete: 0,
    worker_result_sent: 0.05 * MS,
    controller_result_enqueue: 0.1 * MS,
    controller_action_duration: 0.1 * MS,
    goodput: 0,
    requests_queued: 1,
    copies_loaded: 1,
  });
});
