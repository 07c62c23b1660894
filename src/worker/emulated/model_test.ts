import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { ActionStatus } from "../../core/status.ts";
import { type BackendModel, type Failure, isFailure } from "../backend.ts";
import { ModelDirs } from "../model_dirs.ts";
import { limitModel, modelReader } from "./model.ts";

const ZOO = fileURLToPath(new URL("../../../config/modelzoo", import.meta.url));

function good(model: BackendModel | Failure): BackendModel {
  if (isFailure(model)) throw new Error(model.message);
  return model;
}

Deno.test("the zoo's ResNet-50 has the published figures", () => {
  const model = good(modelReader(ModelDirs.only(ZOO))("resnet50_v2", 2));
  assert.equal(model.inputBytes, 602112);
  assert.equal(model.outputBytes, 4000);
  assert.equal(model.weightsBytes, 7 * 16_777_216);
  assert.equal(model.profiles.length, 2);
  const { loadWeightsNs, execNs } = model.profiles[1]!;
  assert.equal(loadWeightsNs, 8.4e6);
  assert.deepEqual(model.batchSizes, [1, 2, 4, 8, 16]);
  assert.deepEqual(execNs, [3.3e6, 5.3e6, 7.5e6, 12.4e6, 17.3e6]);
});

Deno.test("batch sizes that are too large or too slow are not offered", () => {
  const model = good(modelReader(ModelDirs.only(ZOO))(`${ZOO}/resnet50_v2/model`, 1));
  const few = good(limitModel(model, { maxBatchSize: 8, maxExecNs: 1e9 }));
  assert.deepEqual(few.batchSizes, [1, 2, 4, 8]);
  const fast = good(limitModel(model, { maxBatchSize: 16, maxExecNs: 7.5e6 }));
  assert.deepEqual(fast.batchSizes, [1, 2, 4]);
  assert.deepEqual(fast.profiles[0]!.execNs, [3.3e6, 5.3e6, 7.5e6]);
  const none = limitModel(model, { maxBatchSize: 16, maxExecNs: 1e6 });
  assert.ok(isFailure(none));
  assert.match(none.message, /takes 3.3 ms at batch size 1.*limit of 1 ms/);
});

Deno.test("a model that cannot be emulated says what its model.json lacks", () => {
  const directory = Deno.makeTempDirSync();
  const json: Record<string, unknown> = {
    inputs: [{ name: "x", shape: ["batch", 2] }],
    outputs: [{ name: "y", shape: ["batch", 1] }],
    weights_bytes: 100,
    profiles: { slow: { weights_load_ns: 5, exec_ns: { "1": 10 } } },
  };
  const read = (value: Record<string, unknown>) => {
    Deno.mkdirSync(`${directory}/m`, { recursive: true });
    Deno.writeTextFileSync(`${directory}/m/model.json`, JSON.stringify(value));
    return modelReader(ModelDirs.only(directory))("m", 1);
  };
  try {
    assert.deepEqual(good(read(json)).profiles, [{ loadWeightsNs: 5, execNs: [10] }]);
    for (const key of Object.keys(json)) {
      const { [key]: _, ...rest } = json;
      const failure = read(rest);
      assert.ok(isFailure(failure));
      assert.equal(failure.status, ActionStatus.invalidModelPath);
      assert.match(failure.message, new RegExp(`has no ${key}`));
    }
    const noBatch1 = read({
      ...json,
      profiles: { p: { weights_load_ns: 5, exec_ns: { "2": 1 } } },
    });
    assert.ok(isFailure(noBatch1));
    const missing = modelReader(ModelDirs.only(directory))("nothing", 1);
    assert.ok(isFailure(missing));
    assert.equal(missing.status, ActionStatus.invalidModelPath);
    // The V100's figures are preferred, wherever they stand.
    const v100 = { weights_load_ns: 7, exec_ns: { "1": 11 } };
    const both = good(read({ ...json, profiles: { a: { ...v100, weights_load_ns: 1 }, v100 } }));
    assert.equal(both.profiles[0]!.loadWeightsNs, 7);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});
