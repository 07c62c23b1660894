import assert from "node:assert/strict";
import type { Clock } from "../core/clock.ts";
import { ActionStatus } from "../core/status.ts";
import type { Backend, BackendModel, TensorSpec } from "./backend.ts";
import { CheckError, checkModel, summarize, topOutputs } from "./check_model.ts";

function spec(name: string, dtype: TensorSpec["dtype"], length: number, bytes: number): TensorSpec {
  return { name, dtype, shape: [length], batched: true, bytes };
}

function fakeModel(output: TensorSpec): BackendModel {
  return {
    source: "/m/model.onnx",
    inputs: [spec("x", "float32", 1, 4)],
    outputs: [output],
    inputBytes: 4,
    outputBytes: output.bytes,
    weightsBytes: 2500,
    batchSizes: [1, 2],
    profiles: [{ loadWeightsNs: 1, execNs: [1, 1] }],
    notes: [],
  };
}

/** Answers at once; each step moves the time by what `stepNs` says. */
class FakeBackend implements Backend {
  readonly gpus = [];
  readonly calls: string[] = [];
  nowNs = 0;
  readonly clock: Clock = { now: () => this.nowNs, at: () => ({ cancel: () => {} }) };
  readonly model = fakeModel(spec("y", "float32", 6, 24));

  #span(stepNs: number) {
    const beginNs = this.nowNs;
    this.nowNs += stepNs;
    return { beginNs, endNs: this.nowNs };
  }

  loadModel: Backend["loadModel"] = (path, _options, done) => {
    this.calls.push(`load ${path}`);
    done(
      path === "good"
        ? this.model
        : { status: ActionStatus.invalidModelPath, message: "no such model" },
    );
  };
  unloadModel: Backend["unloadModel"] = () => {};
  loadWeights: Backend["loadWeights"] = (_gpu, _model, _copy, done) => {
    this.calls.push("weights");
    done(this.#span(70));
  };
  evictWeights: Backend["evictWeights"] = (_gpu, _model, _copy, done) => {
    this.calls.push("evict");
    done(this.#span(1));
  };
  infer: Backend["infer"] = (_gpu, _model, _copy, batchSize, inputs, done) => {
    this.calls.push(`infer b${batchSize}${inputs === null ? "" : " given"}`);
    const copyInput = this.#span(2);
    const exec = this.#span(100 * batchSize);
    const copyOutput = this.#span(3);
    const y = Float32Array.of(0.5, -1, 7, 7, 0, 2);
    done({ copyInput, exec, copyOutput, outputs: [new Uint8Array(y.buffer)] });
  };
  close() {}
}

Deno.test("every batch size is warmed up and run, and the weights leave the device", async () => {
  const backend = new FakeBackend();
  const report = await checkModel(backend.clock, backend, "good", {
    pageBytes: 1000,
    iterations: 2,
    maxBatchSize: 16,
    input: () => new Uint8Array(4),
  });
  assert.deepEqual(backend.calls, [
    "load good",
    "weights",
    "evict",
    "weights",
    ...["infer b1", "infer b1", "infer b1"],
    ...["infer b2", "infer b2", "infer b2"],
    "infer b1 given",
    "evict",
  ]);
  assert.deepEqual([report.pages, report.pagedBytes], [3, 3000]);
  assert.deepEqual(report.loadWeights, { medianNs: 70, p99Ns: 70, maxNs: 70 });
  assert.deepEqual(report.exec, [
    { medianNs: 105, p99Ns: 105, maxNs: 105 },
    { medianNs: 205, p99Ns: 205, maxNs: 205 },
  ]);
  assert.deepEqual(report.top!.map(({ index }) => index), [2, 3, 5, 0, 4]);
});

Deno.test("a failed step ends the check with its message", async () => {
  const backend = new FakeBackend();
  const options = { pageBytes: 1000, iterations: 1, maxBatchSize: 16, input: null };
  await assert.rejects(
    checkModel(backend.clock, backend, "bad", options),
    (error) => error instanceof CheckError && error.status === 41 && /no such/.test(error.message),
  );
});

Deno.test("median, 99th percentile and maximum of odd and even counts", () => {
  assert.deepEqual(summarize([5]), { medianNs: 5, p99Ns: 5, maxNs: 5 });
  assert.deepEqual(summarize([9, 1, 5]), { medianNs: 5, p99Ns: 9, maxNs: 9 });
  assert.deepEqual(summarize([8, 2, 4, 100]), { medianNs: 6, p99Ns: 100, maxNs: 100 });
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.deepEqual(summarize(hundred), { medianNs: 50.5, p99Ns: 99, maxNs: 100 });
});

Deno.test("top outputs are read from half floats too, and not from integers", () => {
  const halves = new Uint8Array(Float16Array.of(1, 3, 2).buffer);
  assert.deepEqual(topOutputs(fakeModel(spec("y", "float16", 3, 6)), halves, 2), [
    { index: 1, value: 3 },
    { index: 2, value: 2 },
  ]);
  assert.deepEqual(topOutputs(fakeModel(spec("y", "int32", 1, 4)), new Uint8Array(4), 2), []);
});
