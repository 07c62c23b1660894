import assert from "node:assert/strict";
import { ModelDirs } from "../model_dirs.ts";
import { NoDeviceError, OnnxBackend } from "./onnx_backend.ts";
import { pickAdapters } from "./choose_devices.ts";
import { SystemClock } from "../../core/system_clock.ts";

const ADAPTERS = ["NVIDIA L4", "Intel(R) Arc", "llvmpipe"];

Deno.test("GPUs are picked by number or by part of the name, each once", () => {
  assert.deepEqual(pickAdapters(ADAPTERS, ["1", "nvidia"]), ["Intel(R) Arc", "NVIDIA L4"]);
  assert.deepEqual(pickAdapters(ADAPTERS, ["0", "L4"]), ["NVIDIA L4"]);
});

Deno.test("a GPU that is not there is an error that lists those that are", () => {
  for (const bad of ["3", "AMD"]) {
    assert.throws(
      () => pickAdapters(ADAPTERS, [bad]),
      (error) =>
        error instanceof NoDeviceError &&
        error.message === `there is no GPU ${bad}; Dawn's adapters are: 0: NVIDIA L4, ` +
            "1: Intel(R) Arc, 2: llvmpipe",
    );
  }
  assert.throws(() => pickAdapters([], ["0"]), /adapters are: none/);
});

Deno.test("--gpu does not go with the CPU", async () => {
  const clock = new SystemClock();
  try {
    const opening = OnnxBackend.open(clock, {
      device: "wasm",
      gpus: ["0"],
      modelDirs: ModelDirs.only("."),
    });
    await assert.rejects(opening, /--gpu chooses among Dawn's adapters, not with wasm/);
  } finally {
    clock.close();
  }
});
