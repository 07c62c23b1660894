import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { modelFiles, UploadFileError } from "./upload_files.ts";

/** A folder with these files. */
async function withFiles(
  files: Readonly<Record<string, string>>,
  body: (path: string) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(join(path, name), text);
    }
    await body(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

async function refused(path: string, reason: RegExp): Promise<void> {
  await assert.rejects(modelFiles(path), (error) => {
    assert.ok(error instanceof UploadFileError);
    assert.match(error.message, reason);
    return true;
  });
}

Deno.test("the only ONNX file of a folder, and its profile, get the names that workers look for", async () => {
  const files = { "net.v2.onnx": "abc", "net.v2.json": "{}", "w.bin": "x", ".hidden": "" };
  await withFiles(files, async (path) => {
    await Deno.mkdir(join(path, "folder"));
    const found = await modelFiles(path);
    assert.deepEqual(found.map(({ name }) => name), ["model.json", "model.onnx", "w.bin"]);
    const onnx = found[1]!;
    assert.equal(onnx.size, 3);
    assert.equal(onnx.sha256, createHash("sha256").update("abc").digest("hex"));
    assert.deepEqual(await onnx.read(1, 2), new TextEncoder().encode("bc"));
    assert.deepEqual((await modelFiles(join(path, "net.v2.onnx"))).map(({ name }) => name), [
      "model.onnx",
    ]);
    await assert.rejects(onnx.read(2, 2), /it has become shorter/);
  });
});

Deno.test("of several ONNX files, each keeps its name", async () => {
  await withFiles({ "model.onnx": "a", "other.onnx": "b" }, async (path) => {
    const names = (await modelFiles(path)).map(({ name }) => name);
    assert.deepEqual(names, ["model.onnx", "other.onnx"]);
  });
});

Deno.test("a large file is hashed as a whole", async () => {
  const text = "0123456789abcdef".repeat(70_000);
  await withFiles({ "model.json": text }, async (path) => {
    const [file] = await modelFiles(path);
    assert.equal(file!.size, text.length);
    assert.equal(file!.sha256, createHash("sha256").update(text).digest("hex"));
  });
});

Deno.test("what is no model is refused before it is read", async () => {
  await withFiles({ README: "" }, async (path) => {
    await refused(path, /has neither an \.onnx file nor model\.json$/);
    await refused(join(path, "nowhere"), /^cannot read .*nowhere: /);
  });
  const many = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`${i}`, ""]));
  await withFiles({ ...many, "model.onnx": "" }, async (path) => {
    await refused(path, /has 65 files; an upload has at most 64$/);
  });
});
