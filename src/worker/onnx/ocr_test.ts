import assert from "node:assert/strict";
import { ModelDirs } from "../model_dirs.ts";
import { differenceFromNative, randomBlob, TestBackend } from "./testing.ts";
import { type OcrModel, writeOcrModels } from "./testing_ocr.ts";

Deno.test("the PaddleOCR models give what the native ONNX Runtime gives", async () => {
  const directory = Deno.makeTempDirSync();
  const names: readonly OcrModel[] = ["cls", "det", "rec"];
  await writeOcrModels(directory, names);
  const backend = await TestBackend.open({ device: "wasm", modelDirs: ModelDirs.only(directory) });
  try {
    for (const name of names) {
      const loaded = await backend.load(name, 2);
      assert.deepEqual(loaded.batchSizes, [1, 2], name);
      await backend.loadWeights(loaded, 1);
      const inputs = [randomBlob(loaded, 1), randomBlob(loaded, 2)];
      const { outputs } = await backend.infer(loaded, 1, 2, inputs);
      const difference = await differenceFromNative(loaded, inputs, outputs);
      assert.ok(difference < 1e-3, `${name}: ${difference}`);
    }
  } finally {
    backend.close();
    Deno.removeSync(directory, { recursive: true });
  }
});
