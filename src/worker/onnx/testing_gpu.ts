/**
 * Serves models on a WebGPU device and prints what came of it as one line of JSON. A program of its own,
 * run by gpu_test.ts: the Vulkan driver is chosen by the environment, and could bring the process down.
 *
 * Arguments: the device, then names of models: those of `testdata`, `cls` of PaddleOCR, `large` (its weights
 * take several uploads), `noisy` (its outputs differ a little from one run to the next) and `weightless`.
 */
import { dirname } from "node:path";
import { generateModels } from "../../../testdata/generate.ts";
import type { BackendModel } from "../backend.ts";
import { ModelDirs } from "../model_dirs.ts";
import { joinInputs, splitOutputs } from "./blobs.ts";
import { viewAs } from "./data_types.ts";
import { type Device, openDevice } from "./device.ts";
import { createSession } from "./ort.ts";
import { NoDeviceError } from "./onnx_backend.ts";
import {
  differenceFromNative,
  floatTensor,
  model,
  node,
  randomBlob,
  TestBackend,
  writeModel,
} from "./testing.ts";
import type { Difference } from "./verify.ts";
import { writeOcrModels } from "./testing_ocr.ts";

/** What happened to one model. */
export interface GpuCaseModel {
  readonly name: string;
  /** Whether each copy has its own weights on the device. */
  readonly paged: boolean;
  /** How the backend's own comparison with the CPU went. */
  readonly check: Difference | null;
  readonly notes: readonly string[];
  readonly batchSizes: readonly number[];
  /** Largest difference from the native ONNX Runtime's outputs. */
  readonly difference: number;
  /** Whether a session of the file as it is, on the same device, gives the same bits. */
  readonly sameAsPlain: boolean;
  /** Whether a second copy gave the same bits, also after the first had been evicted. */
  readonly copiesAgree: boolean;
}

export type GpuCaseResult =
  | { readonly unavailable: string }
  | {
    readonly device: string;
    /** What a model that does not load was refused with. */
    readonly refusal: string;
    /** What a model is refused with whose results may not differ at all; null when not tried. */
    readonly strict: string | null;
    readonly models: readonly GpuCaseModel[];
  };

function text(blobs: readonly Uint8Array[]): string {
  return blobs.map((blob) => blob.toHex()).join();
}

type Served = Omit<GpuCaseModel, "sameAsPlain"> & {
  readonly loaded: BackendModel;
  readonly inputs: readonly Uint8Array[];
  readonly outputs: readonly Uint8Array[];
};

async function serve(backend: TestBackend, name: string): Promise<Served> {
  const loaded = await backend.load(name, name === "cls" ? 1 : 2);
  await backend.loadWeights(loaded, 1);
  await backend.loadWeights(loaded, 2);
  const batchSize = loaded.batchSizes.at(-1)!;
  const inputs = Array.from({ length: batchSize }, (_, i) => randomBlob(loaded, i));
  const first = await backend.infer(loaded, 1, batchSize, inputs);
  const second = await backend.infer(loaded, 2, batchSize, inputs);
  await backend.evictWeights(loaded, 1);
  const third = await backend.infer(loaded, 2, batchSize, inputs);
  const result = {
    name,
    paged: (loaded.pagedBytes ?? 0) > 0,
    check: backend.backend.onGpus(loaded)[0]!.check,
    notes: loaded.notes,
    batchSizes: loaded.batchSizes,
    difference: await differenceFromNative(loaded, inputs, first.outputs),
    copiesAgree: text(first.outputs) === text(second.outputs) &&
      text(second.outputs) === text(third.outputs),
    loaded,
    inputs,
    outputs: first.outputs,
  };
  await backend.evictWeights(loaded, 2);
  backend.backend.unloadModel(loaded);
  return result;
}

/** Compares with a session that the backend has no part in. */
async function compareWithPlain(device: Device, served: Served): Promise<GpuCaseModel> {
  const { loaded, inputs, outputs, ...result } = served;
  const { ort, executionProvider } = device;
  const session = await createSession(ort, executionProvider, Deno.readFileSync(loaded.source));
  const tensors = joinInputs(loaded.inputs, inputs, inputs.length);
  const feeds = Object.fromEntries(loaded.inputs.map(({ name, dtype, shape, batched }, i) => {
    const dims = batched ? [inputs.length, ...shape] : shape;
    return [name, new ort.Tensor(dtype, viewAs(dtype, tensors[i]!), dims)];
  }));
  const results = await session.run(feeds);
  const buffers = loaded.outputs.map(({ name }) => {
    const { buffer, byteOffset, byteLength } = results[name]!.data;
    return buffer.slice(byteOffset, byteOffset + byteLength);
  });
  await session.release();
  const plain = splitOutputs(loaded.outputs, buffers, inputs.length);
  return { ...result, sameAsPlain: text(plain) === text(outputs) };
}

/** Puts the models that `names` may mean into a directory. */
async function writeModels(directory: string, names: readonly string[]): Promise<void> {
  for (const [path, bytes] of generateModels()) writeModel(directory, dirname(path), bytes);
  if (names.includes("cls")) await writeOcrModels(directory, ["cls"]);
  const onOp = (op: string) => model(["n", 4], ["n", 4], [node(op, ["x"], "y")], []);
  writeModel(directory, "unknown_op", onOp("Frobnicate"));
  writeModel(directory, "weightless", onOp("Relu"));
  const large = model(["n", 1021], ["n", 2303], [node("MatMul", ["x", "w"], "y")], [
    floatTensor("w", [1021, 2303], (i) => Math.sin(i) / 30),
  ]);
  writeModel(directory, "large", large);
  const noisy = model(["n", 4], ["n", 4], [
    node("MatMul", ["x", "w"], "product"),
    node("RandomNormalLike", ["x"], "noise", [{ name: "scale", f: 1e-5, type: 1 }]),
    node("Add", ["product", "noise"], "y"),
  ], [floatTensor("w", [4, 4], (i) => Math.sin(i))]);
  writeModel(directory, "noisy", noisy);
}

async function refusedWhenStrict(kind: "dawn" | "deno", modelDir: string): Promise<string> {
  const backend = await TestBackend.open({
    device: kind,
    modelDirs: ModelDirs.only(modelDir),
    verify: "strict",
    tolerances: { float32: -1 },
    // What other runs have found does not count.
    profiles: "renew",
  });
  try {
    return await backend.load("two_in_two_out", 1).then(() => "", (error: Error) => error.message);
  } finally {
    backend.close();
  }
}

async function run(kind: "dawn" | "deno", names: readonly string[]): Promise<GpuCaseResult> {
  const directory = Deno.makeTempDirSync();
  let backend: TestBackend | undefined;
  try {
    await writeModels(directory, names);
    backend = await TestBackend.open({ device: kind, modelDirs: ModelDirs.only(directory) });
    const refusal = await backend.load("unknown_op").then(
      () => "",
      (error: Error) => error.message,
    );
    const served = [];
    for (const name of names) served.push(await serve(backend, name));
    backend.close();
    // Dawn's shaders compile slowly on SwiftShader.
    const strict = kind === "deno" ? await refusedWhenStrict(kind, directory) : null;
    const device = await openDevice({
      target: { kind, adapter: null },
      pageBytes: 2 ** 20,
      weightsCacheBytes: null,
    });
    const models = [];
    for (const one of served) models.push(await compareWithPlain(device, one));
    return { device: device.info.name, refusal, strict, models };
  } catch (error) {
    if (error instanceof NoDeviceError) return { unavailable: error.message };
    throw error;
  } finally {
    backend?.close();
    Deno.removeSync(directory, { recursive: true });
  }
}

if (import.meta.main) {
  const [kind, ...names] = Deno.args;
  console.log(JSON.stringify(await run(kind as "dawn" | "deno", names)));
  // The device stays open otherwise, and Dawn keeps the process alive with it.
  Deno.exit(0);
}
