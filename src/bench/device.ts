/** Measures the device that a worker would use, with a small generated network. */
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { Random } from "../core/random.ts";
import { checkModel, type CheckReport } from "../worker/check_model.ts";
import { ModelDirs } from "../worker/model_dirs.ts";
import { locateModel } from "../worker/model_files.ts";
import { OnnxBackend } from "../worker/onnx/onnx_backend.ts";
import { encodeModel, type Node, type Tensor } from "../worker/onnx/proto.ts";

const LAYERS = 4;
const CHANNELS = 32;
const SIZE = 56;
/** Multiplications and additions of one request. */
const FLOP = LAYERS * 2 * CHANNELS * CHANNELS * 9 * SIZE * SIZE;

export interface DeviceBenchmark {
  readonly device: string;
  readonly report: CheckReport;
  /** Operations of one request, for comparing devices. */
  readonly flop: number;
}

/**
 * Measures the device that `worker` takes by default.
 *
 * @param directory an empty one, for the network's file.
 * @throws when no device can be opened.
 */
export async function benchmarkDevice(clock: Clock, directory: string): Promise<DeviceBenchmark> {
  const path = join(directory, "convolutions", "model.onnx");
  Deno.mkdirSync(join(directory, "convolutions"));
  Deno.writeFileSync(path, convolutions());
  const modelDirs = ModelDirs.only(directory);
  const backend = await OnnxBackend.open(clock, {
    device: "auto",
    modelDirs,
    maxBatchSize: 4,
    profiles: "read",
  });
  try {
    const report = await checkModel(clock, backend, locateModel(path, modelDirs).onnxPath!, {
      pageBytes: 2 ** 24,
      iterations: 10,
      maxBatchSize: 4,
      input: null,
    });
    return { device: backend.gpus[0]!.name, report, flop: FLOP };
  } finally {
    backend.close();
  }
}

/** Four 3 × 3 convolutions of 32 channels on 56 × 56 pixels, as a ResNet has them. */
function convolutions(): Uint8Array {
  const random = new Random(1);
  const node: Node[] = [];
  const initializer: Tensor[] = [];
  for (let layer = 0; layer < LAYERS; layer++) {
    const dims = [CHANNELS, CHANNELS, 3, 3];
    const weights = Float32Array.from(
      { length: CHANNELS * CHANNELS * 9 },
      () => (random.float() - 0.5) / CHANNELS,
    );
    const name = `w${layer}`;
    initializer.push({ name, dims, dataType: 1, rawData: new Uint8Array(weights.buffer) });
    node.push({
      opType: "Conv",
      input: [layer === 0 ? "x" : `x${layer}`, name],
      output: [layer === LAYERS - 1 ? "y" : `x${layer + 1}`],
      attribute: [{ name: "pads", type: 7, ints: [1, 1, 1, 1] }],
    });
  }
  const dim = [{ dimParam: "batch" }, ...[CHANNELS, SIZE, SIZE].map((dimValue) => ({ dimValue }))];
  const type = { tensorType: { elemType: 1, shape: { dim } } };
  return encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 13 }],
    graph: {
      name: "convolutions",
      node,
      initializer,
      input: [{ name: "x", type }],
      output: [{ name: "y", type }],
    },
  });
}
