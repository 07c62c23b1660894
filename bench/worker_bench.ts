/**
 * Measures the real worker on the devices of this machine: what serving adds to ONNX Runtime alone, how
 * far times are from their predictions, what loading weights costs an inference beside it, and what a
 * thousand copies of a model take.
 *
 *     deno run -A --unstable-webgpu bench/worker_bench.ts [device ...]
 *
 * Devices are those of `--device`; by default `wasm` and `deno`. Ratios are of runs that alternate, so that
 * whatever else the machine does falls on both.
 */
import { int } from "../tools/zoo/graph.ts";
import { resnet } from "../tools/zoo/convnets.ts";
import { GraphBuilder, seededFill, type Value } from "../tools/zoo/graph.ts";
import { vit } from "../tools/zoo/transformers.ts";
import { ModelDirs } from "../src/worker/model_dirs.ts";
import type { BackendModel } from "../src/worker/backend.ts";
import { NoDeviceError } from "../src/worker/onnx/onnx_backend.ts";
import type { DeviceKind, WeightsMemory } from "../src/worker/onnx/protocol.ts";
import { randomBlob, TestBackend, writeModel } from "../src/worker/onnx/testing.ts";
import { joinInputs } from "../src/worker/onnx/blobs.ts";
import type { BareRequest } from "./bare_session.ts";

const ROUNDS = 8;
/** About how long one model is run on one device, in milliseconds. */
const ROUND_MS = 400;

function network(name: string, build: (g: GraphBuilder) => Value): Uint8Array<ArrayBuffer> {
  const graph = new GraphBuilder(seededFill(1));
  const output = build(graph);
  return graph.encode(name, output, [output.channels]);
}

/** Tables of which an inference reads a row each: large weights that cost little to run. */
function tables(rows: number, count: number): Uint8Array<ArrayBuffer> {
  return network("tables", (g) => {
    const index = g.node("Mod", [g.input("row", [1], "int64"), g.integers(rows)]);
    let sum = "";
    for (let i = 0; i < count; i++) {
      const row = g.node("Gather", [g.weight([rows, 1024], 1), index]);
      sum = sum === "" ? row : g.node("Add", [sum, row]);
    }
    return {
      name: g.node("ReduceMean", [sum], [int("keepdims", 0), {
        name: "axes",
        ints: [1],
        type: 7,
      }]),
      channels: 1024,
    };
  });
}

const MODELS: Readonly<Record<string, () => Uint8Array<ArrayBuffer>>> = {
  convnet: () =>
    network("convnet", (g) =>
      resnet(g, {
        blocks: [3, 4, 6, 3],
        bottleneck: true,
        preActivation: false,
        width: 0.25,
        // The size of ImageNet: some 25 ms on one core. The hop between threads takes half a millisecond,
        // whatever the model, and should weigh what it weighs with models that people serve.
        image: 224,
        classes: 100,
      })),
  transformer: () =>
    network(
      "transformer",
      (g) => vit(g, { image: 64, patch: 8, layers: 8, hidden: 192, heads: 3, classes: 100 }),
    ),
  ten_mb: () => tables(2560, 1),
  hundred_mb: () => tables(8192, 3),
};

class Bare {
  readonly #worker = new Worker(new URL("./bare_session.ts", import.meta.url), { type: "module" });

  run(request: BareRequest): Promise<number[]> {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }: MessageEvent<number[] | string>) =>
        typeof data === "string" ? reject(new Error(data)) : resolve(data);
      this.#worker.postMessage(request);
    });
  }

  close(): void {
    this.#worker.terminate();
  }
}

function quantile(values: readonly number[], q: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(q * values.length) - 1]!;
}

function table(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  for (const row of rows) {
    console.log("  " + row.map((cell, i) => cell.padStart(widths[i]!)).join("  "));
  }
}

/** What one inference took, in milliseconds: on the device, and from the call to the result. */
interface Served {
  readonly execMs: number;
  readonly actionMs: number;
}

async function serve(
  backend: TestBackend,
  model: BackendModel,
  size: number,
  inputs: readonly Uint8Array[],
): Promise<Served> {
  const beginNs = backend.clock.now();
  const { exec } = await backend.infer(model, 1, size, inputs);
  return {
    execMs: (exec.endNs - exec.beginNs) / 1e6,
    actionMs: (backend.clock.now() - beginNs) / 1e6,
  };
}

/** Must show 1 and 4. */
async function servingCost(backend: TestBackend, kind: DeviceKind): Promise<void> {
  const bare = new Bare();
  const cost = [["model", "batch", "bare ms", "exec ms", "exec/bare", "action ms", "action/bare"]];
  const errors = [["model", "batch", "runs", "predicted ms", "median", "p99", "over by >10%"]];
  for (const name of ["convnet", "transformer"]) {
    const model = await backend.load(name, 8);
    await backend.loadWeights(model, 1);
    const file = Deno.readFileSync(model.source);
    for (const size of [1, 8]) {
      const at = model.batchSizes.indexOf(size);
      if (at < 0) continue;
      const blobs = Array.from({ length: size }, (_, i) => randomBlob(model, i));
      const buffers = joinInputs(model.inputs, blobs, size);
      const inputs = model.inputs.map(({ name, dtype, shape }, i) => ({
        name,
        dtype,
        dims: [size, ...shape],
        buffer: buffers[i]!,
      }));
      const predictedMs = model.profiles[0]!.execNs[at]! / 1e6;
      const runs = Math.min(20, Math.max(1, Math.round(ROUND_MS / predictedMs)));
      await bare.run({ kind, file, inputs, runs: 3 });
      const bareMs: number[] = [];
      const served: Served[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        bareMs.push(...await bare.run({ kind, file, inputs, runs }));
        for (let i = 0; i < runs; i++) served.push(await serve(backend, model, size, blobs));
      }
      const exec = served.map(({ execMs }) => execMs);
      const action = served.map(({ actionMs }) => actionMs);
      const [b, e, a] = [bareMs, exec, action].map((times) => quantile(times, 0.5)) as [
        number,
        number,
        number,
      ];
      cost.push([
        name,
        `${size}`,
        b.toFixed(2),
        e.toFixed(2),
        (e / b).toFixed(3),
        a.toFixed(2),
        (a / b).toFixed(3),
      ]);
      const ratios = exec.map((ms) => ms / predictedMs);
      const over = ratios.filter((ratio) => ratio > 1.1).length / ratios.length;
      errors.push([
        name,
        `${size}`,
        `${ratios.length}`,
        predictedMs.toFixed(2),
        quantile(ratios, 0.5).toFixed(3),
        quantile(ratios, 0.99).toFixed(3),
        `${(100 * over).toFixed(1)} %`,
      ]);
    }
    await backend.evictWeights(model, 1);
  }
  bare.close();
  console.log("Medians of a served inference and of ONNX Runtime alone:");
  table(cost);
  console.log("Execution as a share of its prediction:");
  table(errors);
}

/** Must show 3. */
async function loadBeside(backend: TestBackend): Promise<void> {
  const small = await backend.load("convnet", 1);
  const large = await backend.load("hundred_mb", 1);
  await backend.loadWeights(small, 1);
  const blob = randomBlob(small, 1);
  const alone: number[] = [];
  for (let i = 0; i < 30; i++) alone.push((await serve(backend, small, 1, [blob])).actionMs);
  const beside: number[] = [];
  const loads: number[] = [];
  let loading = true;
  const loader = (async () => {
    for (let i = 0; i < 5; i++) {
      const { beginNs, endNs } = await backend.loadWeights(large, 2);
      loads.push((endNs - beginNs) / 1e6);
      await backend.evictWeights(large, 2);
    }
    loading = false;
  })();
  while (loading) beside.push((await serve(backend, small, 1, [blob])).actionMs);
  await loader;
  await backend.evictWeights(small, 1);
  console.log(
    `Inference while ${large.weightsBytes / 1e6} MB of weights are loaded, over and over ` +
      `(${quantile(loads, 0.5).toFixed(0)} ms each), in ms:`,
  );
  const row = (name: string, times: readonly number[]) => [
    name,
    `${times.length}`,
    ...[0.5, 0.9, 0.99, 1].map((q) => quantile(times, q).toFixed(2)),
  ];
  table([["", "runs", "median", "p90", "p99", "max"], row("alone", alone), row("beside", beside)]);
}

function memoryOf(backend: TestBackend): Promise<WeightsMemory> {
  return new Promise((resolve, reject) => {
    backend.backend.memory(0, (reply) => {
      if ("status" in reply) reject(new Error(reply.message));
      else resolve(reply);
    });
  });
}

const COPIES = 1000;

/** Must show 2: copies are loads of the same file, as LoadModelFromDisk makes them. */
async function thousandCopies(backend: TestBackend): Promise<void> {
  const first = await backend.load("ten_mb", 1);
  backend.backend.unloadModel(first);
  const before = Deno.memoryUsage().rss;
  const beginNs = backend.clock.now();
  const models = await Promise.all(
    Array.from({ length: COPIES }, () => backend.load("ten_mb", 1)),
  );
  const loadMs = (backend.clock.now() - beginNs) / 1e6;
  const after = Deno.memoryUsage().rss;
  const cycle = async (count: number) => {
    for (let i = 0; i < count; i++) {
      await backend.loadWeights(models[i]!, i);
      if (i % 100 === 0) await backend.infer(models[i]!, i, 1, null);
      await backend.evictWeights(models[i]!, i);
    }
    return { rss: Deno.memoryUsage().rss, device: await memoryOf(backend) };
  };
  const warm = await cycle(100);
  const done = await cycle(COPIES);
  const mb = (bytes: number) => (bytes / 1e6).toFixed(1);
  console.log(
    `${COPIES} copies of a ${mb(first.weightsBytes)} MB model: loaded in ${
      loadMs.toFixed(0)
    } ms, ` +
      `with ${mb(after - before)} MB more of host memory; ${COPIES} times LoadWeights and ` +
      `EvictWeights took ${mb(done.rss - warm.rss)} MB more, and left ` +
      `${mb(done.device.usedBytes)} MB of device memory in use and ` +
      `${mb(done.device.freeBytes)} MB (before: ${mb(warm.device.freeBytes)}) for reuse`,
  );
}

async function measure(kind: DeviceKind): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "clockwork-bench-" });
  let backend: TestBackend | undefined;
  try {
    for (const [name, make] of Object.entries(MODELS)) writeModel(directory, name, make());
    backend = await TestBackend.open({ device: kind, modelDirs: ModelDirs.only(directory) });
    console.log(`\n${backend.backend.gpus[0]!.name}`);
    await servingCost(backend, kind);
    if (kind !== "wasm") await loadBeside(backend);
    await thousandCopies(backend);
  } catch (error) {
    if (!(error instanceof NoDeviceError)) throw error;
    console.log(`\n${kind}: ${error.message}`);
  } finally {
    backend?.close();
    Deno.removeSync(directory, { recursive: true });
  }
}

if (import.meta.main) {
  for (const kind of Deno.args.length > 0 ? Deno.args : ["wasm", "deno"]) {
    await measure(kind as DeviceKind);
  }
  Deno.exit(0);
}
