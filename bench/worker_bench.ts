/**
 * Measures the real worker on the devices of this machine: what serving adds to ONNX Runtime alone, how
 * accurate predictions are, how loading weights affects inferences, and what a thousand copies of a model
 * take.
 *
 *     deno task bench:worker [DEVICE ...]
 *
 * Devices are those of `--device`; by default `wasm` and `deno`. Where other programs keep the machine
 * busy, it waits for them a while (PATIENCE_S=60, in seconds), and says so when they stay.
 */
import { ModelDirs } from "../src/worker/model_dirs.ts";
import { NoDeviceError } from "../src/worker/onnx/onnx_backend.ts";
import type { DeviceKind } from "../src/worker/onnx/protocol.ts";
import { TestBackend, writeModel } from "../src/worker/onnx/testing.ts";
import { thousandCopies } from "./worker/copies.ts";
import { loadBeside } from "./worker/load_beside.ts";
import { benchNetworks } from "./worker/networks.ts";
import { servingCost } from "./worker/serving_cost.ts";

async function measure(kind: DeviceKind): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "clockwork-bench-" });
  let backend: TestBackend | undefined;
  try {
    for (const [name, file] of benchNetworks(kind)) writeModel(directory, name, file);
    backend = await TestBackend.open({ device: kind, modelDirs: ModelDirs.only(directory) });
    console.log(`\n${backend.backend.gpus[0]!.name}`);
    await servingCost(backend, kind, ["convnet", "transformer"]);
    if (kind !== "wasm") await loadBeside(backend, kind, "convnet", "hundred_mb");
    await thousandCopies(backend, "ten_mb");
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
