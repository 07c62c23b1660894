/** The files of a model on this machine, for uploads. */
import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { MAX_UPLOAD_FILES } from "../wire/upload.ts";
import type { UploadSource } from "./upload.ts";

/** What a user named cannot be uploaded. */
export class UploadFileError extends Error {
  override readonly name = "UploadFileError";
}

const HASHED_BYTES = 1024 * 1024;

/**
 * The model at a path: an ONNX file, whatever its name, or a folder with one, whose other files go with it:
 * `model.json`, and those that hold weights.
 *
 * @throws {UploadFileError}
 */
export async function modelFiles(path: string): Promise<UploadSource[]> {
  const found = await list(path);
  if (found.length > MAX_UPLOAD_FILES) {
    // Checked before reading: it may be a folder of other files that happens to contain a model.
    throw new UploadFileError(
      `${path} has ${found.length} files; an upload has at most ${MAX_UPLOAD_FILES}`,
    );
  }
  const onnx = found.filter((file) => file.endsWith(".onnx"));
  const only = onnx.length === 1 ? onnx[0] : undefined;
  // Workers look for model.onnx; its profile has the same name.
  const stem = only === undefined ? null : basename(only, ".onnx");
  const nameOf = (file: string) => {
    const name = basename(file);
    return name === `${stem}.onnx` || name === `${stem}.json`
      ? name.replace(stem!, () => "model")
      : name;
  };
  return await Promise.all(found.map((file) => source(file, nameOf(file))));
}

async function list(path: string): Promise<string[]> {
  try {
    if (!(await Deno.stat(path)).isDirectory) return [path];
    const files: string[] = [];
    for await (const { name } of Deno.readDir(path)) {
      const file = join(path, name);
      if (!name.startsWith(".") && (await Deno.stat(file)).isFile) files.push(file);
    }
    if (files.some((file) => /(\.onnx|^model\.json)$/.test(basename(file)))) return files.sort();
  } catch (error) {
    throw new UploadFileError(`cannot read ${path}: ${(error as Error).message}`);
  }
  throw new UploadFileError(`${path} has neither an .onnx file nor model.json`);
}

async function source(path: string, name: string): Promise<UploadSource> {
  try {
    const { size } = await Deno.stat(path);
    const hash = createHash("sha256");
    for (let offset = 0; offset < size; offset += HASHED_BYTES) {
      hash.update(await read(path, offset, Math.min(HASHED_BYTES, size - offset)));
    }
    return {
      name,
      size,
      sha256: hash.digest("hex"),
      read: (offset, length) => read(path, offset, length),
    };
  } catch (error) {
    throw new UploadFileError(`cannot read ${path}: ${(error as Error).message}`);
  }
}

async function read(path: string, offset: number, length: number): Promise<Uint8Array> {
  using file = await Deno.open(path);
  await file.seek(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await file.read(bytes.subarray(at));
    if (count === null) throw new Error("it has become shorter meanwhile");
    at += count;
  }
  return bytes;
}
