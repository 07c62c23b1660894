import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { isFailure } from "../../src/worker/backend.ts";
import { ModelDirs } from "../../src/worker/model_dirs.ts";
import { limitModel, modelReader } from "../../src/worker/emulated/model.ts";
import { networks } from "./networks.ts";
import { execNs, REFERENCE } from "./profile.ts";
import { profileFiles } from "./write_profiles.ts";

const ZOO = new URL("../../config/modelzoo/", import.meta.url);
/** Of a V100, in float32. */
const PEAK_FLOPS = 15.7e12;

Deno.test("the zoo's files are what the script writes", () => {
  const files = profileFiles();
  for (const [path, text] of files) {
    assert.equal(
      Deno.readTextFileSync(new URL(path, ZOO)),
      text,
      `${path} differs: run deno run --allow-write tools/zoo/write_profiles.ts`,
    );
  }
  const folders = [...Deno.readDirSync(ZOO)].map(({ name }) => `${name}/model.json`);
  assert.deepEqual(folders.sort(), [...files.keys(), "resnet50_v2/model.json"].sort());
  assert.equal(folders.length, 61);
});

Deno.test("the emulated worker loads every model of the zoo, in batches that pay", () => {
  const read = modelReader(ModelDirs.only(fileURLToPath(ZOO)));
  for (const { name } of [...Deno.readDirSync(ZOO)]) {
    const read1 = read(name, 1);
    const model = isFailure(read1)
      ? read1
      : limitModel(read1, { maxBatchSize: 16, maxExecNs: 250e6 });
    assert.ok(!isFailure(model), `${name}: ${isFailure(model) && model.message}`);
    assert.ok(model.inputBytes > 0 && model.outputBytes > 0);
    const [{ execNs, loadWeightsNs }] = model.profiles as [typeof model.profiles[0]];
    assert.ok(execNs[0]! >= 0.3e6 && execNs[0]! <= 30e6, `${name} takes ${execNs[0]} ns`);
    for (let i = 1; i < execNs.length; i++) {
      assert.ok(execNs[i]! > execNs[i - 1]! && execNs[i]! < 2 * execNs[i - 1]!, name);
    }
    // A transfer at some 14 GB/s.
    assert.ok(Math.abs(model.weightsBytes / loadWeightsNs - 13.98) < 0.01, name);
  }
});

Deno.test("the formula gives resnet50_v2 its measured times, and nobody more than the GPU has", () => {
  const resnet = { name: "", family: "convolution", parameters: 25.6, input: 224 } as const;
  for (const size of [1, 2, 4, 8, 16] as const) {
    assert.equal(execNs({ ...resnet, ...REFERENCE }, size), REFERENCE.execNs[size]);
    for (const network of networks) {
      const flops = 2 * network.macs * 1e9 * size / (execNs(network, size) / 1e9);
      assert.ok(flops < 0.8 * PEAK_FLOPS, `${network.name}: ${flops / 1e12} TFLOPS`);
    }
  }
});
