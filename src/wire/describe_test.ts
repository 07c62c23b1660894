import assert from "node:assert/strict";
import { describeAction, describeBytes, describeModelFacts, describeResult } from "./describe.ts";

const facts = {
  input_size: 602112,
  output_size: 4000,
  weights_size: 117440512,
  num_weights_pages: 7,
  weights_load_time_ns: 8.37e6,
  supported_batch_sizes: [1, 2],
  exec_times_ns: [3.32e6, 5.28e6],
};
const handling = { action_received_ns: 0, result_sent_ns: 0 };

Deno.test("sizes are shown in binary units", () => {
  assert.equal(describeBytes(23085449216), "21.5 GB");
  assert.equal(describeBytes(536870912, ""), "512.0MB");
  assert.equal(describeBytes(1536), "1.5 KB");
  assert.equal(describeBytes(0), "0 B");
});

Deno.test("actions are shown with their window from now", () => {
  const window = { earliest_ns: 5e9, latest_ns: 5.01e9 };
  assert.equal(
    describeAction({
      kind: "LoadModelFromDisk",
      id: 0,
      header: {
        model_id: 0,
        no_of_copies: 2,
        model_path: "/zoo/m/model",
        earliest_ns: 0,
        latest_ns: 16847613635838e6,
        max_batch_size: 8,
        max_exec_duration_ns: 1,
      },
    }, 0),
    "A0:LoadModelFromDisk model=0 [0.0, 16847613635838.0] /zoo/m/model",
  );
  const weights = { model_id: 3, gpu_id: 1, expected_duration_ns: 8.4e6, ...window };
  assert.equal(
    describeAction({ kind: "LoadWeights", id: 4, header: weights }, 5.002e9),
    "A4:LoadWeights model=3 gpu=1 [0.0, 8.0] expected=8.4",
  );
  assert.equal(
    describeAction({ kind: "EvictWeights", id: 5, header: weights }, 4.999e9),
    "A5:EvictWeights model=3 gpu=1 [1.0, 11.0]",
  );
  const infer = { ...weights, batch_size: 2, input_sizes: [1, 1] };
  assert.equal(
    describeAction({ kind: "Infer", id: 6, header: infer }, 5e9),
    "A6:Infer model=3 gpu=1 batch=2 [0.0, 10.0] expected=8.4",
  );
  assert.equal(describeAction({ kind: "ClearCache", id: 7, header: {} }, 0), "A7:ClearCache");
});

Deno.test("what clients and files are called cannot move the cursor or fake lines", () => {
  const evil = "x\x1b[2J\nR9:Infer";
  const window = { earliest_ns: 0, latest_ns: 0 };
  const load = { model_id: 0, no_of_copies: 1, model_path: evil, ...window, max_batch_size: 1 };
  const header = { ...load, max_exec_duration_ns: 1 };
  const error = { ...handling, action_type: 0, status: 41, message: `no ${evil}` };
  const removed = { ...handling, no_of_uploads: 1, message: evil };
  const state = { ...handling, page_size: 1, gpus: [], signatures: [] };
  const models = [{ ...facts, model_id: 0, model_path: evil, signature: 0 }];
  const lines = [
    describeAction({ kind: "LoadModelFromDisk", id: 0, header }, 0),
    describeResult({ kind: "ErrorResult", id: 0, header: error }),
    describeResult({ kind: "RemoveUploadsResult", id: 0, header: removed }),
    ...describeResult({ kind: "GetWorkerStateResult", id: 0, header: { ...state, models } })
      .split("\n").filter((line) => line.includes("M-0")),
  ];
  assert.equal(lines.length, 4);
  for (const line of lines) {
    assert.ok(line.includes("x?[2J?R9:Infer"), line);
    assert.ok(!/\p{Cc}/u.test(line), line);
  }
});

Deno.test("a model's facts are one line", () => {
  assert.equal(
    describeModelFacts(facts),
    "input=602112 output=4000 weights=112.0 MB (7 pages) xfer=8.4 b1=3.3 b2=5.3",
  );
});

Deno.test("results are shown by what they tell", () => {
  const timing = { begin_ns: 0, end_ns: 14.9e6, duration_ns: 14.9e6 };
  assert.equal(
    describeResult({
      kind: "LoadModelFromDiskResult",
      id: 0,
      header: { ...facts, ...timing, ...handling, copies_created: 1 },
    }),
    "R0:LoadModelFromDisk input=602112 output=4000 weights=112.0 MB (7 pages) xfer=8.4 b1=3.3 " +
      "b2=5.3 duration=14.9",
  );
  assert.equal(
    describeResult({ kind: "LoadWeightsResult", id: 1, header: { ...timing, ...handling } }),
    "R1:LoadWeights duration=14.9",
  );
  assert.equal(
    describeResult({
      kind: "InferResult",
      id: 2,
      header: {
        ...handling,
        gpu_id: 1,
        copy_input: timing,
        exec: timing,
        copy_output: timing,
        output_sizes: [4, 4],
        gpu_clock: 0,
        gpu_clock_before: 0,
      },
    }),
    "R2:Infer gpu=1 copy_input=14.9 exec=14.9 copy_output=14.9 outputs=2",
  );
  assert.equal(
    describeResult({
      kind: "ErrorResult",
      id: 3,
      header: { ...handling, action_type: 2, status: 81, message: "too late" },
    }),
    "R3:Infer error 81: too late",
  );
  // A newer worker may know actions that we do not.
  assert.equal(
    describeResult({
      kind: "ErrorResult",
      id: 4,
      header: { ...handling, action_type: 77, status: 1, message: "no" },
    }),
    "R4:action type 77 error 1: no",
  );
});
