import assert from "node:assert/strict";
import type { ModelFacts } from "../../wire/messages.ts";
import { FACTS, SIGNATURE } from "../test_rig.ts";
import { factsFromState, sameSizes, specOf } from "./loading.ts";

/** The state of a worker that has copies of a model from before, with ids from 5 on. */
function stateWith(facts: Partial<ModelFacts>, paths = ["1/m", "1/m"]) {
  const gpu = {
    name: "",
    weights_cache_size: 0,
    io_pool_size: 0,
    workspace_pool_size: 0,
    models: [],
  };
  const told = { ...FACTS, ...facts, signature: 0 };
  return {
    page_size: 1,
    gpus: [3, 5].map((weights_cache_pages) => ({ ...gpu, weights_cache_pages })),
    signatures: [SIGNATURE],
    models: paths.map((model_path, i) => ({ ...told, model_id: 5 + i, model_path })),
    action_received_ns: 0,
    result_sent_ns: 0,
  };
}

const RANGE = { firstId: 5, copies: 2, path: "1/m" };

Deno.test("what a worker has from before is used if it is all of a group, and nothing else", () => {
  assert.deepEqual(factsFromState(stateWith({}), RANGE)?.inputs, SIGNATURE.inputs);
  assert.equal(factsFromState(stateWith({}, []), RANGE), null);
  assert.equal(factsFromState(stateWith({}), { ...RANGE, firstId: 7 }), null);
  for (const paths of [["1/m"], ["1/m", "1/other"], ["1/other", "1/m"]]) {
    assert.throws(
      () => factsFromState(stateWith({}, paths), RANGE),
      /it has other models with ids/,
    );
  }
});

Deno.test("facts that make no sense are told of", () => {
  const exec_times_ns = [1e6, 2e6];
  const cases: [Partial<ModelFacts>, RegExp][] = [
    [{ supported_batch_sizes: [2, 4], exec_times_ns }, /batch sizes do not ascend from 1: 2 4/],
    [{ supported_batch_sizes: [1, 1], exec_times_ns }, /batch sizes do not ascend from 1: 1 1/],
    [{ supported_batch_sizes: [], exec_times_ns: [] }, /batch sizes do not ascend from 1/],
    [{ exec_times_ns }, /execution times are not one for each batch size/],
    [{ supported_batch_sizes: [1, 2], exec_times_ns: [1e6, 0] }, /execution times are not one/],
    [{ weights_load_time_ns: -1 }, /weights take -1 ns to load/],
    [{ num_weights_pages: 6 }, /weights take 6 pages, and a GPU has 5/],
    [{ output_size: 4 }, /output/],
  ];
  for (const [facts, expected] of cases) {
    assert.throws(() => factsFromState(stateWith(facts), RANGE), expected);
  }
  assert.notEqual(factsFromState(stateWith({ num_weights_pages: 5 }), RANGE), null);
});

Deno.test("batches that no message could carry are not used", () => {
  const mib = 2 ** 20;
  const batches = (facts: Partial<ModelFacts>) => specOf({ ...FACTS, ...facts }).batchSizes;
  assert.deepEqual(batches({}), [1, 2, 4]);
  assert.deepEqual(batches({ input_size: 64 * mib }), [1, 2, 4]);
  assert.deepEqual(batches({ input_size: 64 * mib + 1 }), [1, 2]);
  assert.deepEqual(batches({ output_size: 128 * mib + 1 }), [1]);
  // Nobody could send such an input; without one it runs all the same.
  assert.deepEqual(batches({ input_size: 300 * mib }), [1]);
  assert.deepEqual(specOf({ ...FACTS, input_size: 100 * mib }).execNs, [3e6, 4e6]);
});

Deno.test("models are the same in size if both inputs and outputs are", () => {
  assert.ok(sameSizes(FACTS, { ...FACTS, weights_size: 1 }));
  assert.ok(!sameSizes(FACTS, { ...FACTS, input_size: 1 }));
  assert.ok(!sameSizes(FACTS, { ...FACTS, output_size: 1 }));
});
