/** GPUs that hang, and come back: on the CPU, with a model that loops for as long as it is told. */
import assert from "node:assert/strict";
import { ModelDirs } from "../model_dirs.ts";
import { generateModels } from "../../../testdata/generate.ts";
import { SECOND } from "../../core/clock.ts";
import { SystemClock } from "../../core/system_clock.ts";
import { isFailure } from "../backend.ts";
import { GpuSlot } from "./gpu_slot.ts";
import { encodeModel, type Model } from "./proto.ts";
import { model, node, TestBackend, valueInfo, writeModel } from "./testing.ts";

const FLOAT = 1, INT64 = 7, BOOL = 9;

/** Adds x to itself `times` times, one step after the other. */
function looping(): Model {
  const body = {
    name: "body",
    node: [node("Identity", ["go"], "go2"), node("Add", ["v", "v"], "v2")],
    initializer: [],
    input: [valueInfo("i", [], INT64), valueInfo("go", [], BOOL), valueInfo("v", [4], FLOAT)],
    output: [valueInfo("go2", [], BOOL), valueInfo("v2", [4], FLOAT)],
  };
  const made = model([4], [4], [
    node("Loop", ["times", "true", "x"], "y", [{ name: "body", g: body, type: 5 }]),
  ], [{ name: "true", dims: [], dataType: BOOL, rawData: Uint8Array.of(1) }]);
  made.graph.input.push(valueInfo("times", [], INT64));
  return made;
}

/** One request of the looping model. */
function request(times: number): Uint8Array {
  const blob = new Uint8Array(4 * 4 + 8);
  blob.set(new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer));
  new DataView(blob.buffer).setBigInt64(16, BigInt(times), true);
  return blob;
}

/**
 * About how long the steps take that are too many: they do end, as Deno cannot stop a thread that is
 * inside WebAssembly, which would spin for as long as the tests run.
 */
const LONG_NS = 4 * SECOND;
const TRIED_STEPS = 20_000;

/** How many steps take so long; `trial` tells how long {@link TRIED_STEPS} take. */
async function stepsOf(longNs: number, trial: () => Promise<number>): Promise<number> {
  let fastestNs = Infinity;
  // V8 replaces its first, slow WebAssembly code while it runs.
  for (let i = 0; i < 6; i++) fastestNs = Math.min(fastestNs, await trial());
  return Math.round(TRIED_STEPS * longNs / fastestNs);
}

/** Runs `body` with a backend of two "GPUs", both the CPU, and what it told about them. */
async function withTwo(
  timeouts: { loadNs?: number; callNs?: number },
  body: (
    backend: TestBackend,
    many: number,
    events: string[],
    restored: () => Promise<void>,
  ) => Promise<void>,
): Promise<void> {
  const directory = Deno.makeTempDirSync();
  writeModel(directory, "mlp", generateModels().get("mlp/model.onnx")!);
  writeModel(directory, "finite", looping(), { fill: { times: 3 } });
  const target = { kind: "wasm", adapter: null } as const;
  const backend = await TestBackend.open({
    device: "wasm",
    targets: [target, target],
    modelDirs: ModelDirs.only(directory),
    timeouts,
  });
  try {
    const loop = await backend.load("finite");
    await backend.loadWeights(loop, 0);
    const many = await stepsOf(LONG_NS, async () => {
      const { exec } = await backend.infer(loop, 0, 1, [request(TRIED_STEPS)]);
      return exec.endNs - exec.beginNs;
    });
    writeModel(directory, "long", looping(), { fill: { times: many } });
    const events: string[] = [];
    let back = Promise.withResolvers<void>();
    backend.backend.watch({
      onLost: (gpuId, reason) => events.push(`lost ${gpuId}: ${reason}`),
      onRestored: (gpuId) => {
        events.push(`restored ${gpuId}`);
        back.resolve();
      },
    });
    await body(backend, many, events, async () => {
      await back.promise;
      back = Promise.withResolvers();
    });
  } finally {
    backend.close();
    Deno.removeSync(directory, { recursive: true });
  }
}

Deno.test("an inference that does not end costs its GPU a new thread, and nobody else anything", () =>
  withTwo({ callNs: SECOND }, async (backend, many, events, restored) => {
    const loop = await backend.load("finite");
    const mlp = await backend.load("mlp", 1);
    assert.deepEqual(loop.profiles.length, 2, "one for each GPU");
    for (const gpuId of [0, 1]) {
      await backend.loadWeights(mlp, 1, gpuId);
      await backend.loadWeights(loop, 2, gpuId);
    }
    const expected = (await backend.infer(mlp, 1, 1, null)).outputs;
    const doubled = (await backend.infer(loop, 2, 1, [request(1)])).outputs[0]!;
    assert.deepEqual([...new Float32Array(doubled.slice().buffer)], [2, 4, 6, 8]);

    const hung = backend.infer(loop, 2, 1, [request(many)]);
    const behind = backend.infer(mlp, 1, 1, null);
    backend.backend.evictWeights(0, mlp, 1, () => events.push("eviction ended"));
    // The neighbour goes on all the while.
    assert.deepEqual((await backend.infer(mlp, 1, 1, null, 1)).outputs, expected);
    await assert.rejects(hung, /2: infer took longer than 1 s, and was ended/);
    await assert.rejects(behind, /2: the GPU is lost: infer took longer than 1 s/);
    await restored();
    const lost = "lost 0: infer took longer than 1 s";
    assert.deepEqual(events, [lost, "eviction ended", "restored 0"]);
    // It knows its models, and has no weights.
    await assert.rejects(backend.infer(mlp, 1, 1, null), /82: the weights are not on the device/);
    await backend.loadWeights(mlp, 1);
    assert.deepEqual((await backend.infer(mlp, 1, 1, null)).outputs, expected);
    assert.deepEqual((await backend.infer(mlp, 1, 1, null, 1)).outputs, expected);
  }));

Deno.test("a model that does not get loaded in time is given up, and the others come back", () =>
  withTwo({ loadNs: 2 * SECOND }, async (backend, _many, events, restored) => {
    const mlp = await backend.load("mlp", 1);
    await assert.rejects(backend.load("long"), /2: .*long.*load took longer than 2 s/);
    await restored();
    assert.deepEqual(events, ["lost 0: load took longer than 2 s", "restored 0"]);
    await backend.loadWeights(mlp, 1);
    assert.equal((await backend.infer(mlp, 1, 1, null)).outputs.length, 1);
  }));

/** A slot whose GPU is lost, and whose models are read again when `proceed` is called. */
async function withLostSlot(
  body: (
    slot: GpuSlot,
    events: string[],
    reading: Promise<void>,
    proceed: () => void,
  ) => Promise<void>,
): Promise<void> {
  const clock = new SystemClock();
  const events: string[] = [];
  const slot = await GpuSlot.open(clock, {
    open: { target: { kind: "wasm", adapter: null }, pageBytes: 1, weightsCacheBytes: null },
    timeouts: { loadNs: 60 * SECOND, callNs: SECOND },
    onLost: () => events.push("lost"),
    onRestored: () => events.push("restored"),
  });
  try {
    const file = () => encodeModel(looping()).buffer;
    const reading = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const load = (modelId: number) =>
      slot.load({
        request: {
          modelId,
          source: {
            path: "/nowhere/model.onnx",
            realDirs: null,
            maxBytes: 1e6,
            shapes: {},
            generalShapes: {},
            fill: { times: 3 },
          },
          batchSizes: [1],
          maxExecMs: 60_000,
          known: null,
          budgetMs: 1000,
        },
        readFile: async () => {
          reading.resolve();
          await gate.promise;
          return file();
        },
      }, file());
    for (const modelId of [1, 2]) assert.ok(!isFailure(await load(modelId)));
    const call = (op: "loadWeights" | "infer", times = 0) =>
      new Promise<{ beginMs: number; endMs: number }>((resolve, reject) => {
        const blob = request(times);
        const inputs = [blob.buffer.slice(0, 16), blob.buffer.slice(16)] as ArrayBuffer[];
        slot.call(op, { modelId: 1, copyId: 0, batchSize: 1, inputs }, [], (reply) => {
          if (isFailure(reply)) reject(new Error(reply.message));
          else resolve(reply);
        });
      });
    await call("loadWeights");
    const many = await stepsOf(LONG_NS, async () => {
      const { beginMs, endMs } = await call("infer", TRIED_STEPS);
      return (endMs - beginMs) * 1e6;
    });
    await assert.rejects(call("infer", many), /longer than 1 s/);
    await body(slot, events, reading.promise, gate.resolve);
  } finally {
    slot.close("the test is over");
    clock.close();
  }
}

/** What the thread says of a model's weights. */
const loadWeights = (slot: GpuSlot, modelId: number) =>
  new Promise<string>((resolve) =>
    slot.call("loadWeights", { modelId, copyId: 0 }, [], (reply) => {
      resolve(isFailure(reply) ? reply.message : "loaded");
    })
  );

Deno.test("a model that is unloaded while its GPU comes back is not there any more", () =>
  withLostSlot(async (slot, events, reading, proceed) => {
    await reading;
    slot.unload(1);
    proceed();
    while (events.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(await loadWeights(slot, 2), "loaded");
    assert.equal(await loadWeights(slot, 1), "no model 1 on this GPU");
  }));

Deno.test("a GPU that comes back when the worker has ended is not taken", () =>
  withLostSlot(async (slot, events, reading, proceed) => {
    await reading;
    slot.close("the worker is shutting down");
    proceed();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    assert.deepEqual(events, ["lost"]);
    assert.match(await loadWeights(slot, 2), /lost|shutting down/);
  }));
