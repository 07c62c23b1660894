/**
 * Serves a model on two WebGPU devices at once, Dawn's and Deno's, and prints what came of it as one line of
 * JSON. A program of its own, run by gpu_test.ts, as `testing_gpu.ts` is.
 */
import { generateModels } from "../../../testdata/generate.ts";
import { ModelDirs } from "../model_dirs.ts";
import { NoDeviceError } from "./onnx_backend.ts";
import { differenceFromNative, randomBlob, TestBackend, writeModel } from "./testing.ts";

export type TwoGpusResult =
  | { readonly unavailable: string }
  | {
    readonly devices: readonly string[];
    /** Largest difference of each GPU's outputs from the native ONNX Runtime's. */
    readonly differences: readonly number[];
    /** Whether both gave the same bits while both were busy as each did alone. */
    readonly sameTogether: boolean;
    /** Whether both executed at the same time. */
    readonly overlapped: boolean;
  };

const NAME = "two_in_two_out";
const GPUS = [0, 1];
const ROUNDS = 5;

async function run(): Promise<TwoGpusResult> {
  const directory = Deno.makeTempDirSync();
  let backend: TestBackend | undefined;
  try {
    writeModel(directory, NAME, generateModels().get(`${NAME}/model.onnx`)!);
    backend = await TestBackend.open({
      device: "auto",
      targets: [{ kind: "dawn", adapter: null }, { kind: "deno", adapter: null }],
      modelDirs: ModelDirs.only(directory),
    });
    const { gpus, passedOver } = backend.backend;
    if (gpus.length < GPUS.length) return { unavailable: passedOver.join("; ") };
    const loaded = await backend.load(NAME, 1);
    const inputs = [randomBlob(loaded, 1)];
    const infer = async (gpuId: number) => {
      const { outputs, exec } = await backend!.infer(loaded, 1, 1, inputs, gpuId);
      return { outputs, exec, text: outputs.map((blob) => blob.toHex()).join() };
    };
    const alone = [];
    for (const gpuId of GPUS) {
      await backend.loadWeights(loaded, 1, gpuId);
      alone.push(await infer(gpuId));
    }
    let sameTogether = true;
    let overlapped = false;
    for (let i = 0; i < ROUNDS; i++) {
      const [a, b] = await Promise.all([infer(0), infer(1)]);
      sameTogether &&= a.text === alone[0]!.text && b.text === alone[1]!.text;
      overlapped ||= a.exec.beginNs < b.exec.endNs && b.exec.beginNs < a.exec.endNs;
    }
    const differences = [];
    for (const { outputs } of alone) {
      differences.push(await differenceFromNative(loaded, inputs, outputs));
    }
    return { devices: gpus.map(({ name }) => name), differences, sameTogether, overlapped };
  } catch (error) {
    if (error instanceof NoDeviceError) return { unavailable: error.message };
    throw error;
  } finally {
    backend?.close();
    Deno.removeSync(directory, { recursive: true });
  }
}

if (import.meta.main) {
  console.log(JSON.stringify(await run()));
  // The devices stay open otherwise, and Dawn keeps the process alive with them.
  Deno.exit(0);
}
