/** What a path may lead to: never out of the model directories. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { ModelDirs, ModelFileError } from "./model_dirs.ts";
import { locateModel } from "./model_files.ts";

/** Two model directories, a and b, a secret beside them, and links from the first to the outside. */
function withDirs(body: (root: string, dirs: ModelDirs) => void): void {
  const root = Deno.realPathSync(Deno.makeTempDirSync());
  try {
    for (const dir of ["a/x", "a/dir", "b/y", "b/x", "secret", "a2"]) {
      Deno.mkdirSync(join(root, dir), { recursive: true });
    }
    for (const model of ["a/x", "b/y", "b/x", "secret", "a2"]) {
      Deno.writeTextFileSync(join(root, model, "model.onnx"), "");
    }
    Deno.writeTextFileSync(join(root, "secret/text"), "secret");
    Deno.symlinkSync(join(root, "secret"), join(root, "a/out"));
    Deno.symlinkSync(join(root, "secret/text"), join(root, "a/dir/model.json"));
    Deno.symlinkSync(join(root, "b/y"), join(root, "a/other"));
    Deno.symlinkSync(join(root, "a"), join(root, "alias"));
    body(root, ModelDirs.only(join(root, "a"), join(root, "b")));
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
}

function refusal(path: string, dirs: ModelDirs): string {
  try {
    locateModel(path, dirs);
  } catch (error) {
    assert.ok(error instanceof ModelFileError, String(error));
    return error.message;
  }
  return assert.fail(`${path} was found`);
}

Deno.test("models are found in each of the directories, the first first, and by absolute paths", () => {
  withDirs((root, dirs) => {
    const onnx = (path: string) => locateModel(path, dirs).onnxPath;
    assert.equal(onnx("x"), join(root, "a/x/model.onnx"));
    assert.equal(onnx("y/model"), join(root, "b/y/model.onnx"));
    assert.equal(onnx(join(root, "b/x")), join(root, "b/x/model.onnx"));
    assert.equal(onnx("x/../../a/x"), join(root, "a/x/model.onnx"));
    assert.equal(onnx("other"), join(root, "a/other/model.onnx"), "a link to another of them");
  });
});

Deno.test("a directory may be named by a link, and what is in it either way", () => {
  withDirs((root) => {
    const dirs = ModelDirs.only(join(root, "alias"));
    for (const path of ["x", join(root, "alias/x"), join(root, "a/x")]) {
      assert.ok(locateModel(path, dirs).onnxPath !== null, path);
    }
  });
});

Deno.test("no path leads out, and the refusal names the directories that are allowed", () => {
  withDirs((root, dirs) => {
    const outside = [
      "../secret",
      "x/../../secret/model.onnx",
      join(root, "secret"),
      join(root, "a/../secret"),
      join(root, "a2"), // begins as a directory that is allowed
      "../a2",
      "/etc/passwd",
      "out", // a link
      "out/model.onnx",
      join(root, "a/out"),
      "dir", // whose model.json is a link
    ];
    for (const path of outside) {
      assert.match(refusal(path, dirs), /is not in this worker's model directories/, path);
      assert.ok(refusal(path, dirs).includes(`${join(root, "a")}, ${join(root, "b")}:`), path);
    }
  });
});

Deno.test("a path outside is refused alike whether there is such a file or not", () => {
  withDirs((root, dirs) => {
    const what = (path: string) => refusal(path, dirs).replace(path, "PATH");
    assert.equal(what(join(root, "secret")), what(join(root, "nothing")));
    assert.equal(what("../secret"), what("../nothing"));
  });
});

Deno.test("NUL, too long names and another system's separators lead nowhere", () => {
  withDirs((_, dirs) => {
    assert.match(refusal("x\0y", dirs), /no NUL/);
    assert.match(refusal("", dirs), /1 to 4096 characters/);
    assert.match(refusal("x/".repeat(3000), dirs), /has 6000/);
    assert.match(refusal("x".repeat(1000), dirs), /no model at/);
    for (const path of ["..\\secret", "C:\\secret\\model.onnx", "\\\\host\\share\\model.onnx"]) {
      assert.match(refusal(path, dirs), /no model at|is not in this worker's/, path);
    }
  });
});

Deno.test("what a user does by hand is not confined", () => {
  withDirs((root) => {
    const dirs = ModelDirs.anywhere(join(root, "a"));
    for (const path of ["../secret", "out", join(root, "secret")]) {
      assert.ok(locateModel(path, dirs).onnxPath !== null, path);
    }
  });
});
