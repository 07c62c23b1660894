import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { ModelDir, ModelDirError } from "./model_dir.ts";

function withZoo(body: (path: string) => void): void {
  const path = Deno.makeTempDirSync();
  try {
    for (const name of ["resnet50_v2", "mobilenet_v2", "notes"]) Deno.mkdirSync(join(path, name));
    Deno.writeTextFileSync(join(path, "resnet50_v2", "model.json"), "{}");
    Deno.writeTextFileSync(join(path, "mobilenet_v2", "model.onnx"), "");
    Deno.writeTextFileSync(join(path, "notes", "README"), "");
    body(path);
  } finally {
    Deno.removeSync(path, { recursive: true });
  }
}

Deno.test("a model directory lists the folders that hold a model", () => {
  withZoo((path) => {
    const dir = ModelDir.read(path);
    assert.deepEqual(dir.names, ["mobilenet_v2", "resnet50_v2"]);
    assert.equal(dir.pathOf("resnet50_v2"), join(path, "resnet50_v2", "model"));
  });
});

Deno.test("a path is taken as it is, for the model may be on the workers only", () => {
  withZoo((path) => {
    const dir = ModelDir.read(path);
    assert.equal(dir.pathOf("/elsewhere/m.onnx"), "/elsewhere/m.onnx");
    assert.equal(dir.pathOf("zoo/m.onnx"), resolve("zoo/m.onnx"));
    // By this, workers find what was uploaded to them.
    assert.equal(dir.pathOf("uploads/net/0123456789abcdef"), "uploads/net/0123456789abcdef");
  });
});

Deno.test("an unknown model is refused with the nearest name, a missing directory with what to set", () => {
  withZoo((path) => {
    const dir = ModelDir.read(path);
    assert.throws(() => dir.pathOf("resnet50v2"), (error: ModelDirError) => {
      assert.match(error.message, /no model `resnet50v2` in .*; did you mean `resnet50_v2`\?/);
      return true;
    });
    assert.throws(() => dir.pathOf("x"), /no model `x` in .*; CLOCKWORK_MODEL_DIR names where/);
    assert.throws(() => ModelDir.read(join(path, "nowhere")), /CLOCKWORK_MODEL_DIR/);
  });
});
