import assert from "node:assert/strict";
import { join } from "node:path";
import { ModelDirs } from "./model_dirs.ts";
import {
  declaredSpecs,
  MAX_MODEL_JSON_BYTES,
  ModelFileError,
  type ModelJson,
  parseModelJson,
  readModelFolder,
  writeModelJson,
} from "./model_files.ts";

const EXAMPLE: ModelJson = {
  source: "test",
  modelled: true,
  inputs: [{ name: "x", dtype: "float32", shape: ["batch", 3, 4] }],
  outputs: [{ name: "y", dtype: "int64", shape: [7] }],
  weights_bytes: 1000,
  batch_sizes: [1, 4],
  profiles: { gpu: { weights_load_ns: 5, exec_ns: { "1": 10, "4": 20 } } },
};

/** Runs `body` in a folder with a/model.onnx, b/model.json, c/net.onnx, d/{x,y}.onnx and e/. */
function withModels(body: (dir: string) => void): void {
  const dir = Deno.makeTempDirSync();
  try {
    for (const name of ["a", "b", "c", "d", "e"]) Deno.mkdirSync(join(dir, name));
    for (const file of ["a/model.onnx", "c/net.onnx", "d/x.onnx", "d/y.onnx"]) {
      Deno.writeTextFileSync(join(dir, file), "");
    }
    writeModelJson(join(dir, "b", "model.json"), EXAMPLE);
    body(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

function refusal(fn: () => unknown): string {
  let message = "";
  assert.throws(fn, (error) => {
    assert.ok(error instanceof ModelFileError, String(error));
    message = error.message;
    return true;
  });
  return message;
}

Deno.test("a file, its folder and NAME/model name the same model, relative or absolute", () => {
  withModels((dir) => {
    const expected = {
      name: "a",
      folder: join(dir, "a"),
      onnxPath: join(dir, "a", "model.onnx"),
      jsonPath: join(dir, "a", "model.json"),
      json: null,
    };
    for (const path of ["a/model.onnx", "a", "a/", "a/model", "b/../a"]) {
      assert.deepEqual(readModelFolder(path, ModelDirs.only(dir)), expected, path);
      assert.deepEqual(
        readModelFolder(join(dir, path), ModelDirs.anywhere("/nowhere")),
        expected,
        path,
      );
    }
  });
});

Deno.test("a folder with only model.json is a model without weights", () => {
  withModels((dir) => {
    for (const path of ["b", "b/model", "b/model.json"]) {
      const model = readModelFolder(path, ModelDirs.only(dir));
      assert.equal(model.name, "b");
      assert.equal(model.onnxPath, null);
      assert.deepEqual(model.json, EXAMPLE);
    }
    assert.match(
      refusal(() => readModelFolder("b/model.onnx", ModelDirs.only(dir))),
      /no model at b\/model\.onnx/,
    );
  });
});

Deno.test("an .onnx file of another name keeps its own json, so several may share a folder", () => {
  withModels((dir) => {
    const only = readModelFolder("c", ModelDirs.only(dir));
    assert.equal(only.name, "net");
    assert.equal(only.jsonPath, join(dir, "c", "net.json"));
    assert.equal(
      readModelFolder("d/y.onnx", ModelDirs.only(dir)).jsonPath,
      join(dir, "d", "y.json"),
    );
    assert.equal(readModelFolder("d/y", ModelDirs.only(dir)).onnxPath, join(dir, "d", "y.onnx"));
    assert.match(
      refusal(() => readModelFolder("d", ModelDirs.only(dir))),
      /exactly one other \.onnx/,
    );
  });
});

Deno.test("what is not there is refused with the place that was searched", () => {
  withModels((dir) => {
    assert.ok(
      refusal(() => readModelFolder("nothing", ModelDirs.only(dir))).includes(
        `looked up in ${dir}`,
      ),
    );
    assert.match(
      refusal(() => readModelFolder("e", ModelDirs.only(dir))),
      /neither model\.onnx nor model\.json/,
    );
    assert.match(refusal(() => readModelFolder("", ModelDirs.only(dir))), /1 to 4096/);
    assert.match(refusal(() => readModelFolder("a\0", ModelDirs.only(dir))), /no NUL/);
    assert.match(refusal(() => readModelFolder("x".repeat(5000), ModelDirs.only(dir))), /5000/);
  });
});

Deno.test("a wrong model.json names the field", () => {
  const wrong: [unknown, RegExp][] = [
    [{ weight_bytes: 1 }, /weight_bytes/],
    [{ batch_sizes: [2, 4] }, /batch_sizes: batch sizes must begin with 1/],
    [{ batch_sizes: [1, 4, 4] }, /ascend/],
    [{ weights_bytes: -1 }, /weights_bytes/],
    [{ inputs: [{ name: "x", shape: [3, "batch"] }] }, /inputs\.0\.shape: only the first/],
    [{ inputs: [{ name: "x", dtype: "float", shape: [] }] }, /inputs\.0\.dtype/],
    [{ shapes: { x: [0] } }, /shapes\.x\.0/],
    [{ profiles: { gpu: { exec_ns: {} } } }, /profiles\.gpu\.weights_load_ns/],
    [{ profiles: { gpu: { weights_load_ns: 1, exec_ns: { "0": 1 } } } }, /whole number/],
    [[], /expected object/],
  ];
  for (const [value, message] of wrong) {
    assert.match(refusal(() => parseModelJson(JSON.stringify(value), "m.json")), message);
  }
  assert.match(refusal(() => parseModelJson("{", "m.json")), /^m\.json is not JSON/);
  assert.deepEqual(parseModelJson("{}", "m.json"), { source: "", modelled: false, profiles: {} });
});

Deno.test("an oversized model.json is not read", () => {
  withModels((dir) => {
    Deno.writeTextFileSync(join(dir, "a", "model.json"), " ".repeat(MAX_MODEL_JSON_BYTES + 1));
    assert.match(refusal(() => readModelFolder("a", ModelDirs.only(dir))), /at most 1048576/);
  });
});

Deno.test("writing replaces the whole file, leaves nothing behind and reads back equal", () => {
  withModels((dir) => {
    const path = join(dir, "a", "model.json");
    writeModelJson(path, { source: "old", modelled: false, profiles: {} });
    writeModelJson(path, EXAMPLE);
    assert.deepEqual(readModelFolder("a", ModelDirs.only(dir)).json, EXAMPLE);
    assert.deepEqual([...Deno.readDirSync(join(dir, "a"))].map((e) => e.name).sort(), [
      "model.json",
      "model.onnx",
    ]);
    assert.throws(() => writeModelJson(join(dir, "none", "model.json"), EXAMPLE));
  });
});

Deno.test("declared tensors lose their batch dimension and are counted per request", () => {
  assert.deepEqual(declaredSpecs([...EXAMPLE.inputs!, ...EXAMPLE.outputs!]), [
    { name: "x", dtype: "float32", shape: [3, 4], batched: true, bytes: 48 },
    { name: "y", dtype: "int64", shape: [7], batched: false, bytes: 56 },
  ]);
  assert.match(
    refusal(() => declaredSpecs([{ name: "x", dtype: "float32", shape: [65536, 65536] }])),
    /limit is 2147483647/,
  );
});

Deno.test("the model zoo's resnet50_v2 has the published figures", () => {
  const zoo = new URL("../../config/modelzoo", import.meta.url).pathname;
  const { json, onnxPath } = readModelFolder("resnet50_v2/model", ModelDirs.only(zoo));
  assert.equal(onnxPath, null);
  assert.equal(declaredSpecs(json!.inputs!)[0]!.bytes, 602112);
  assert.equal(declaredSpecs(json!.outputs!)[0]!.bytes, 4000);
  assert.equal(json!.weights_bytes, 7 * 16777216);
  assert.equal(json!.profiles["v100"]!.exec_ns["16"], 17300000);
});
