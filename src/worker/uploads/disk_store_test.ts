import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { type UploadFile, uploadPath } from "../../wire/upload.ts";
import { ModelDirs } from "../model_dirs.ts";
import { locateModel } from "../model_files.ts";
import { DiskUploadStore } from "./disk_store.ts";
import type { PartialUpload, UploadStore } from "./store.ts";

const ONNX = new TextEncoder().encode("not really an ONNX file");
const TEXT = new TextEncoder().encode("{}");
const FILES = [fileOf("model.onnx", ONNX), fileOf("model.json", TEXT)];
const PATH = uploadPath("net", FILES);

function fileOf(name: string, contents: Uint8Array): UploadFile {
  const sha256 = createHash("sha256").update(contents).digest("hex");
  return { name, size: contents.length, sha256 };
}

async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await body(join(directory, "uploads"));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function write(partial: PartialUpload): void {
  partial.write(FILES[0]!, ONNX.slice(0, 5), () => {});
  partial.write(FILES[0]!, ONNX.slice(5), () => {});
  partial.write(FILES[1]!, TEXT, () => {});
}

const kept = (partial: PartialUpload) =>
  new Promise<string>((resolve) => partial.keep((problem) => resolve(problem)));

const read = (store: UploadStore, file: UploadFile, offset: number, length: number) =>
  new Promise((resolve) =>
    store.read(PATH, file, offset, length, (bytes, problem) => resolve(bytes ?? problem))
  );

/** Resolves when what was discarded is gone. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const names = (directory: string) => [...Deno.readDirSync(directory)].map(({ name }) => name);

Deno.test("an upload appears at its path when all of it is there, and outlives the store", () =>
  withDirectory(async (directory) => {
    const store = new DiskUploadStore(directory);
    const partial = store.create(PATH, FILES);
    write(partial);
    assert.equal(store.filesOf(PATH), null);
    assert.equal(await kept(partial), "");
    assert.deepEqual(names(directory), ["net"]);
    const again = new DiskUploadStore(directory);
    assert.deepEqual(again.filesOf(PATH), FILES);
    assert.deepEqual([...again.sizes], [[PATH, ONNX.length + TEXT.length]]);
    assert.deepEqual(await read(again, FILES[0]!, 4, 6), ONNX.slice(4, 10));
    const dirs = ModelDirs.only("/nowhere").withUploads(directory);
    const { onnxPath, jsonPath } = locateModel(PATH, dirs);
    assert.deepEqual(Deno.readFileSync(onnxPath!), ONNX);
    // What the worker measures goes there; others get what was uploaded.
    Deno.writeTextFileSync(jsonPath, '{"source":"measured"}');
    assert.deepEqual(await read(again, FILES[1]!, 0, 100), TEXT);
  }));

Deno.test("two workers that share the directory may be sent the same upload", () =>
  withDirectory(async (directory) => {
    const stores = [new DiskUploadStore(directory), new DiskUploadStore(directory)];
    const partials = stores.map((store) => store.create(PATH, FILES));
    for (const partial of partials) write(partial);
    assert.deepEqual(await Promise.all(partials.map(kept)), ["", ""]);
    assert.deepEqual(stores.map((store) => store.filesOf(PATH)), [FILES, FILES]);
    assert.deepEqual(names(directory), ["net"]);
  }));

const removed = (store: UploadStore, path: string) =>
  new Promise((resolve) => store.remove(path, (removed, problem) => resolve([removed, problem])));

Deno.test("what is removed is gone at once, and its files soon", () =>
  withDirectory(async (directory) => {
    const store = new DiskUploadStore(directory);
    const partial = store.create(PATH, FILES);
    write(partial);
    await kept(partial);
    const gone = removed(store, PATH);
    assert.equal(store.sizes.size, 0);
    assert.equal(store.filesOf(PATH), null);
    assert.deepEqual(await gone, [true, ""]);
    assert.deepEqual(names(directory), ["net"]);
    assert.deepEqual(names(join(directory, "net")), []);
    assert.deepEqual(await removed(store, PATH), [false, ""], "twice");
    assert.deepEqual(await removed(store, "uploads/../net"), [false, ""]);
    const again = store.create(PATH, FILES);
    write(again);
    assert.equal(await kept(again), "");
  }));

Deno.test("what is no upload is not removed", () =>
  withDirectory(async (directory) => {
    const store = new DiskUploadStore(directory);
    const folder = join(directory, PATH.slice("uploads/".length));
    Deno.mkdirSync(folder, { recursive: true });
    Deno.writeTextFileSync(join(folder, "mine"), "");
    assert.deepEqual(await removed(store, PATH), [false, ""]);
    assert.deepEqual(names(folder), ["mine"]);
  }));

Deno.test("a folder with a longer name than uploads have is not told of", () =>
  withDirectory(async (directory) => {
    const number = PATH.slice(-16);
    for (const name of ["x".repeat(100), "x".repeat(101), ".x"]) {
      const folder = join(directory, name, number);
      Deno.mkdirSync(folder, { recursive: true });
      Deno.writeTextFileSync(join(folder, "upload.json"), JSON.stringify({ name, files: FILES }));
    }
    const expected = [`uploads/${"x".repeat(100)}/${number}`];
    const store = new DiskUploadStore(directory);
    assert.deepEqual([...store.sizes.keys()], expected);
    await new Promise<void>((resolve) => store.refresh(resolve));
    assert.deepEqual([...store.sizes.keys()], expected);
  }));

Deno.test("what others bring or remove is seen when it is looked for", () =>
  withDirectory(async (directory) => {
    const stores = [new DiskUploadStore(directory), new DiskUploadStore(directory)] as const;
    const refreshed = () => new Promise<void>((resolve) => stores[1].refresh(resolve));
    const partial = stores[0].create(PATH, FILES);
    write(partial);
    await kept(partial);
    stores[0].create(uploadPath("half", FILES), FILES);
    Deno.writeTextFileSync(join(directory, "notes"), "");
    assert.equal(stores[1].sizes.size, 0);
    await refreshed();
    assert.deepEqual(stores[1].sizes, stores[0].sizes);
    Deno.removeSync(join(directory, "net"), { recursive: true });
    await refreshed();
    assert.equal(stores[1].sizes.size, 0);
    Deno.removeSync(directory, { recursive: true });
    await refreshed();
  }));

Deno.test("what is discarded leaves nothing, whatever is still being written", () =>
  withDirectory(async (directory) => {
    const partial = new DiskUploadStore(directory).create(PATH, FILES);
    write(partial);
    partial.discard();
    await until(() => names(directory).length === 0);
  }));

Deno.test("what an ended process has left is removed at the start, what is under way is not", () =>
  withDirectory(async (directory) => {
    const store = new DiskUploadStore(directory);
    Deno.mkdirSync(join(directory, ".partial-old"));
    Deno.writeTextFileSync(join(directory, ".partial-old", "model.onnx"), "half");
    Deno.writeTextFileSync(join(directory, ".partial-old.lock"), "");
    const partial = store.create(PATH, FILES);
    write(partial);
    new DiskUploadStore(directory);
    assert.equal(names(directory).filter((name) => name.includes("old")).length, 0);
    assert.equal(await kept(partial), "");
  }));

Deno.test("a folder that is no upload is neither taken for one nor replaced", () =>
  withDirectory(async (directory) => {
    const store = new DiskUploadStore(directory);
    const folder = join(directory, PATH.slice("uploads/".length));
    Deno.mkdirSync(folder, { recursive: true });
    Deno.writeTextFileSync(join(folder, "mine"), "");
    assert.equal(store.filesOf(PATH), null);
    const partial = store.create(PATH, FILES);
    write(partial);
    assert.match(await kept(partial), /not empty/i);
    assert.deepEqual(names(folder), ["mine"]);
    assert.deepEqual(names(directory), ["net"]);
    // Its list is of other files, or longer than any.
    const list = JSON.stringify({ name: "net", files: FILES });
    for (
      const [text, files] of [
        [list, FILES],
        [list.replace("model.onnx", "other.onnx"), null],
        [list + " ".repeat(64 * 1024), null],
        [list.slice(1), null],
      ] as const
    ) {
      Deno.writeTextFileSync(join(folder, "upload.json"), text);
      assert.deepEqual(store.filesOf(PATH), files, text.slice(0, 100));
    }
    for (const path of ["uploads/../x", "uploads/net", "net", `uploads/.x/${"0".repeat(16)}`]) {
      assert.equal(store.filesOf(path), null);
    }
  }));

Deno.test("uploads' paths lead nowhere else", () =>
  withDirectory(async (directory) => {
    new DiskUploadStore(directory);
    const dirs = ModelDirs.only(join(directory, "..", "models")).withUploads(directory);
    for (const path of ["uploads/../../etc", "uploads//etc/passwd", "uploads/../models/x"]) {
      assert.throws(
        () => locateModel(path, dirs),
        /is not in this worker's model directories/,
        path,
      );
    }
    await Promise.resolve();
  }));
