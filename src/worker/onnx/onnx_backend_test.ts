import assert from "node:assert/strict";
import { join } from "node:path";
import { ModelDirs } from "../model_dirs.ts";
import { generateModels } from "../../../testdata/generate.ts";
import type { DataType } from "../backend.ts";
import { ELEMENT_BYTES, readModelFolder } from "../model_files.ts";
import { onnxType } from "./data_types.ts";
import {
  differenceFromNative,
  floatTensor,
  model,
  node,
  randomBlob,
  TestBackend,
  valueInfo,
  writeModel,
} from "./testing.ts";

/** Runs `body` with a CPU backend over a folder of its own that holds the generated models. */
async function withBackend(
  body: (backend: TestBackend, directory: string) => Promise<void>,
): Promise<void> {
  const directory = Deno.makeTempDirSync();
  for (const [path, bytes] of generateModels()) writeModel(directory, join(path, ".."), bytes);
  let backend: TestBackend | undefined;
  try {
    backend = await TestBackend.open({ device: "wasm", modelDirs: ModelDirs.only(directory) });
    await body(backend, directory);
  } finally {
    backend?.close();
    Deno.removeSync(directory, { recursive: true });
  }
}

Deno.test("generated models give what the native ONNX Runtime gives, at every batch size", () =>
  withBackend(async (backend) => {
    const expected: Record<string, [number, number, number[]]> = {
      residual_conv: [3 * 32 * 32 * 4, 40, [1, 2, 4, 8, 16]],
      mlp: [64 * 4, 32, [1, 2, 4, 8, 16]],
      two_in_two_out: [24 * 4, 36 * 4, [1, 2, 4, 8, 16]],
      fixed_batch: [3 * 64 * 4, 2 * 16 * 4, [1]],
    };
    for (const [name, [inputBytes, outputBytes, batchSizes]] of Object.entries(expected)) {
      const loaded = await backend.load(name);
      assert.deepEqual(
        [loaded.inputBytes, loaded.outputBytes, loaded.batchSizes],
        [inputBytes, outputBytes, batchSizes],
        name,
      );
      assert.equal(loaded.profiles[0]!.execNs.length, batchSizes.length);
      await backend.loadWeights(loaded, 1);
      for (const batchSize of batchSizes) {
        // One request fewer than fit: the last place is padding.
        const count = Math.max(1, batchSize - 1);
        const inputs = Array.from({ length: count }, (_, i) => randomBlob(loaded, i));
        const { outputs } = await backend.infer(loaded, 1, batchSize, inputs);
        assert.equal(outputs.length, count);
        const difference = await differenceFromNative(loaded, inputs, outputs);
        assert.ok(difference < 1e-4, `${name} b${batchSize}: ${difference}`);
      }
    }
  }));

Deno.test("spans follow each other within the call, in the clock's time", () =>
  withBackend(async (backend) => {
    const loaded = await backend.load("residual_conv", 1);
    const beginNs = backend.clock.now();
    await backend.loadWeights(loaded, 1);
    const { copyInput, exec, copyOutput } = await backend.infer(loaded, 1, 1, null);
    const endNs = backend.clock.now();
    const times = [
      beginNs,
      copyInput.beginNs,
      copyInput.endNs,
      exec.beginNs,
      exec.endNs,
      copyOutput.beginNs,
      copyOutput.endNs,
      endNs,
    ];
    assert.deepEqual(times, times.toSorted((a, b) => a - b));
    assert.ok(exec.endNs > exec.beginNs);
  }));

Deno.test("inferences take turns with the steps of another model's load", () =>
  withBackend(async (backend) => {
    const mlp = await backend.load("mlp", 1);
    await backend.loadWeights(mlp, 1);
    const expected = (await backend.infer(mlp, 1, 1, null)).outputs;
    let loading = true;
    const load = backend.load("residual_conv").finally(() => loading = false);
    let served = 0;
    for (; loading; served++) {
      assert.deepEqual((await backend.infer(mlp, 1, 1, null)).outputs, expected);
    }
    assert.deepEqual((await load).batchSizes, [1, 2, 4, 8, 16]);
    // The load makes over fifty runs, of which each lets one inference in.
    assert.ok(served > 20, `${served}`);
  }));

Deno.test("no inputs stand for seeded ones, the same each time", () =>
  withBackend(async (backend) => {
    const loaded = await backend.load("mlp", 4);
    await backend.loadWeights(loaded, 1);
    const first = await backend.infer(loaded, 1, 4, null);
    assert.equal(first.outputs.length, 4);
    assert.notDeepEqual(first.outputs[0], first.outputs[1]);
    assert.deepEqual((await backend.infer(loaded, 1, 4, null)).outputs, first.outputs);
  }));

Deno.test("copies of a file share one load until the last is unloaded", () =>
  withBackend(async (backend, directory) => {
    const [a, b] = await Promise.all([
      backend.load("mlp", 2),
      backend.load(join(directory, "mlp/model.onnx"), 2),
    ]);
    assert.equal(a, b);
    backend.backend.unloadModel(a!);
    await backend.loadWeights(b!, 7);
    assert.equal((await backend.infer(b!, 7, 1, null)).outputs.length, 1);
    await backend.evictWeights(b!, 7);
    backend.backend.unloadModel(b!);
    await assert.rejects(backend.loadWeights(b!, 7), /^Error: 10: /);
    assert.notEqual(await backend.load("mlp", 2), a);
    // The outputs by which it was compared may be large: they are not kept.
    assert.ok(!("buffers" in backend.backend.onGpus(await backend.load("mlp"))[0]!.reply));
  }));

Deno.test("the profile is kept in model.json and not measured again", () =>
  withBackend(async (backend, directory) => {
    const jsonPath = join(directory, "mlp", "model.json");
    backend.backend.unloadModel(await backend.load("mlp", 4));
    const written = readModelFolder("mlp", ModelDirs.only(directory)).json!;
    const key = backend.backend.gpus[0]!.profileKey;
    assert.deepEqual(written.inputs, [{ name: "x", dtype: "float32", shape: ["batch", 64] }]);
    assert.deepEqual(Object.keys(written.profiles[key]!.exec_ns), ["1", "2", "4"]);

    // Figures that no measurement would give.
    const made = {
      ...written.profiles[key]!,
      weights_load_ns: 1e9,
      exec_ns: { "1": 2e9, "2": 3e9 },
    };
    Deno.writeTextFileSync(jsonPath, JSON.stringify({ ...written, profiles: { [key]: made } }));
    const known = await backend.load("mlp", 4);
    assert.equal(known.profiles[0]!.loadWeightsNs, 1e9);
    assert.deepEqual(known.profiles[0]!.execNs.slice(0, 2), [2e9, 3e9]);
    assert.ok(known.profiles[0]!.execNs[2]! < 1e9, "the missing batch size is measured");
    backend.backend.unloadModel(known);

    const stale = { ...made, onnx_sha256: "0".repeat(64) };
    Deno.writeTextFileSync(jsonPath, JSON.stringify({ ...written, profiles: { [key]: stale } }));
    const measured = await backend.load("mlp", 4);
    assert.ok(measured.profiles[0]!.execNs[0]! < 1e9, "figures of another file are not taken");
  }));

Deno.test("batch_sizes and shapes of model.json are obeyed", () =>
  withBackend(async (backend, directory) => {
    const relu = model(["n", 3, "h"], ["n", 3, "h"], [node("Relu", ["x"], "y")], []);
    const json = { shapes: { x: [1, 3, 5] }, batch_sizes: [1, 4] };
    writeModel(directory, "relu", relu, json);
    const loaded = await backend.load("relu");
    assert.deepEqual(loaded.batchSizes, [1, 4]);
    assert.equal(loaded.inputBytes, 60);
    assert.deepEqual(loaded.outputs[0]!.shape, [3, 5]);
    const kept = readModelFolder("relu", ModelDirs.only(directory)).json!;
    assert.deepEqual([kept.shapes, kept.batch_sizes], [json.shapes, json.batch_sizes]);
  }));

Deno.test("a model whose outputs cannot be divided is served one request at a time", () =>
  withBackend(async (backend, directory) => {
    const total = node("ReduceSum", ["x"], "y");
    writeModel(directory, "total", model(["n", 4], [1, 1], [total], []));
    const mixed = model(["n", 4], ["n", 4], [
      node("ReduceMean", ["x"], "m", [{ name: "axes", ints: [0], type: 7 }]),
      node("Add", ["x", "m"], "y"),
    ], []);
    writeModel(directory, "mixed", mixed);
    const loaded = await backend.load("total");
    assert.deepEqual(loaded.batchSizes, [1]);
    assert.match(loaded.notes.join("\n"), /cannot be divided among requests/);
    const other = await backend.load("mixed");
    assert.deepEqual(other.batchSizes, [1]);
    assert.match(other.notes.join("\n"), /depends on its neighbours/);
  }));

Deno.test("tensors of every data type pass through unchanged", () =>
  withBackend(async (backend, directory) => {
    for (const [dtype, bytes] of Object.entries(ELEMENT_BYTES) as [DataType, number][]) {
      const identity = model(["n", 3], ["n", 3], [node("Identity", ["x"], "y")], []);
      identity.graph.input = [valueInfo("x", ["n", 3], onnxType(dtype))];
      identity.graph.output = [valueInfo("y", ["n", 3], onnxType(dtype))];
      writeModel(directory, dtype, identity);
      const loaded = await backend.load(dtype, 2);
      assert.deepEqual([loaded.inputBytes, loaded.outputs[0]!.dtype], [3 * bytes, dtype]);
      await backend.loadWeights(loaded, 1);
      // Zeros and ones, which are values of any type; bool has no others.
      const blobs = [0, 1].map((one) =>
        Uint8Array.from({ length: 3 * bytes }, (_, i) => i % bytes === 0 ? one : 0)
      );
      assert.deepEqual((await backend.infer(loaded, 1, 2, blobs)).outputs, blobs, dtype);
    }
  }));

Deno.test("bad inputs are refused and the backend lives on", () =>
  withBackend(async (backend) => {
    const loaded = await backend.load("two_in_two_out", 2);
    await backend.loadWeights(loaded, 1);
    const good = randomBlob(loaded, 1);
    await assert.rejects(backend.infer(loaded, 1, 1, [good.subarray(1)]), /77: .* 95 bytes.* 96/);
    await assert.rejects(
      backend.infer(loaded, 1, 1, [good, good]),
      /77: 2 inputs for batch size 1/,
    );
    await assert.rejects(backend.infer(loaded, 9, 1, [good]), /82: the weights are not on/);
    assert.equal((await backend.infer(loaded, 1, 1, [good])).outputs.length, 1);
  }));

Deno.test("what cannot be loaded says why, and the next model loads", () =>
  withBackend(async (backend, directory) => {
    writeModel(directory, "text", new TextEncoder().encode("not a model"));
    writeModel(directory, "open", model(["n", "h"], ["n", "h"], [node("Relu", ["x"], "y")], []));
    writeModel(directory, "op", model(["n", 4], ["n", 4], [node("Frobnicate", ["x"], "y")], []));
    writeModel(directory, "json", model(["n"], ["n"], [node("Relu", ["x"], "y")], []), { a: 1 });
    // MatMul of [n,4] and [3,4] fails only when it is run.
    const shapes = model(["n", 4], ["n", 4], [node("MatMul", ["x", "w"], "y")], [
      floatTensor("w", [3, 4], () => 1),
    ]);
    writeModel(directory, "shapes", shapes);
    const external = model(["n", 4], ["n", 4], [node("Mul", ["x", "w"], "y")], [
      { name: "w", dims: [4], dataType: 1, dataLocation: 1 },
    ]);
    writeModel(directory, "external", external);
    Deno.mkdirSync(join(directory, "figures"));
    Deno.writeTextFileSync(join(directory, "figures", "model.json"), "{}");
    const refusals: [string, RegExp][] = [
      ["nothing", /41: no model at nothing .*looked up in/],
      ["text", /41: .*not an ONNX file/],
      ["open", /41: .*input "x" leaves dimension 1 open/],
      ["op", /2: .*does not run on .*Frobnicate/],
      ["json", /41: .*not a valid model\.json.*"a"/],
      ["external", /41: .*tensor "w" is in the file "".*within the model's folder/],
      ["shapes", /2: .*does not run on/],
      ["figures", /41: .*only an emulated worker/],
    ];
    for (const [path, expected] of refusals) await assert.rejects(backend.load(path), expected);
    assert.deepEqual((await backend.load("mlp", 1)).batchSizes, [1]);
  }));

Deno.test("host memory for weights is limited, and given back with the models", async () => {
  const directory = Deno.makeTempDirSync();
  for (const [path, bytes] of generateModels()) writeModel(directory, join(path, ".."), bytes);
  const backend = await TestBackend.open({
    device: "wasm",
    modelDirs: ModelDirs.only(directory),
    maxBatchSize: 2,
    hostWeightsBytes: 100_000,
  });
  try {
    const mlp = await backend.load("mlp", 16);
    assert.deepEqual(mlp.batchSizes, [1, 2], "the worker's own limit");
    await assert.rejects(
      backend.load("residual_conv", 1),
      /1: .*no host memory for 318312 bytes of weights: 68384 of 100000 are taken/,
    );
    backend.backend.unloadModel(mlp);
    const small = await backend.load("two_in_two_out", 1);
    assert.equal(small.weightsBytes, 3712);
    assert.equal((await backend.load("mlp", 1)).weightsBytes, 68384, "there is room again");
  } finally {
    backend.close();
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("a model above the size limit is not read", async () => {
  const directory = Deno.makeTempDirSync();
  writeModel(directory, "big", new Uint8Array(2000));
  const backend = await TestBackend.open({
    device: "wasm",
    modelDirs: ModelDirs.only(directory),
    maxModelBytes: 1000,
  });
  try {
    await assert.rejects(backend.load("big"), /41: .*has 2000 bytes; the limit is 1000/);
  } finally {
    backend.close();
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("closing ends outstanding calls, and later ones at once", () =>
  withBackend(async (backend) => {
    const pending = backend.load("residual_conv");
    const ended = assert.rejects(pending, /3: .*shutting down/);
    backend.backend.close();
    await ended;
    await assert.rejects(backend.load("mlp"), /3: .*shutting down/);
  }));
