/**
 * Conventions for uploaded models: names, paths, and transfer.
 *
 * The path of an upload is derived from its contents, so that it never changes: the same files have the
 * same path everywhere, and different files under the same name have different paths.
 */
import { createHash } from "node:crypto";
import { posix } from "node:path";

/** One file of an uploaded model. */
export interface UploadFile {
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** SHA-256, in hexadecimal. */
  readonly sha256: string;
}

/** Uploaded models have paths that begin with this, wherever a worker keeps them. */
export const UPLOAD_PREFIX = "uploads/";
/** Most files of one upload. */
export const MAX_UPLOAD_FILES = 64;
/** Most bytes of a chunk: few enough that an inference that waits behind some does not notice. */
export const UPLOAD_CHUNK_BYTES = 64 * 1024;
/** Chunks of an upload that may be on their way at a time, from end to end. */
export const UPLOAD_WINDOW = 4;
/** Most uploads that a worker keeps. */
export const MAX_UPLOADS_KEPT = 10_000;
/** Most uploads that are removed by one message. */
export const MAX_UPLOADS_REMOVED = 500;
/** Longest path of an upload, in characters: that of the longest name. */
export const MAX_UPLOAD_PATH_LENGTH = UPLOAD_PREFIX.length + 100 + 1 + 16;
/** Bytes that an upload may have on its way. */
export const UPLOAD_WINDOW_BYTES = UPLOAD_WINDOW * UPLOAD_CHUNK_BYTES;

/** Files that a worker makes itself. */
const RESERVED = new Set(["upload.json", "uploaded.model.json"]);
/** A name that means the same on every system, and nothing special on any. */
const NAME = "[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}";
const SAFE_NAME = new RegExp(`^${NAME}$`);
/** Where a path leads to, or into, the folder of an upload. */
const UPLOAD_FOLDER = new RegExp(`(?:^|/)(${NAME}/[0-9a-f]{16})(?:/|$)`);
const SAFE = "1 to 100 of A-Z, a-z, 0-9, _, - and ., not beginning with a dot or ending with one";
/** Names of devices, which Windows takes for these whatever their extension. */
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

function isSafe(name: string): boolean {
  return SAFE_NAME.test(name) && !name.endsWith(".") && !DEVICE.test(name);
}

/** What is wrong with an upload's name and files; null if nothing is. */
export function uploadProblem(name: string, files: readonly UploadFile[]): string | null {
  if (!isSafe(name)) return `"${name}" is no name for a model: use ${SAFE}`;
  if (files.length < 1 || files.length > MAX_UPLOAD_FILES) {
    return `an upload has 1 to ${MAX_UPLOAD_FILES} files, not ${files.length}`;
  }
  const names = new Set<string>();
  for (const { name, size, sha256 } of files) {
    if (!isSafe(name) || RESERVED.has(name)) {
      return `"${name}" is no name for a file of a model: use ${SAFE}`;
    }
    // Some file systems do not tell them apart.
    if (names.has(name.toLowerCase())) return `there are two files "${name}"`;
    names.add(name.toLowerCase());
    if (size < 1) return `the file "${name}" is empty`;
    if (!/^[0-9a-f]{64}$/.test(sha256)) {
      return `the checksum of "${name}" is not a SHA-256 in 64 hexadecimal digits`;
    }
  }
  if (!files.some(({ name }) => name === "model.onnx" || name === "model.json")) {
    return "an upload has a file model.onnx, or model.json for emulated workers";
  }
  return null;
}

/** The path by which an upload is loaded: its name, and a digest of its files. */
export function uploadPath(name: string, files: readonly UploadFile[]): string {
  const hash = createHash("sha256");
  const lines = files.map(({ name, size, sha256 }) => `${name} ${size} ${sha256}\n`);
  for (const line of lines.sort()) hash.update(line);
  return `${UPLOAD_PREFIX}${name}/${hash.digest("hex").slice(0, 16)}`;
}

/**
 * The upload that a model's path leads to, whatever way it takes: `/data/uploads/net/0123456789abcdef/model`
 * to `uploads/net/0123456789abcdef`. Null when it can be that of no upload.
 */
export function uploadOf(modelPath: string): string | null {
  // There may be a million models, most of them no uploads.
  if (!/[0-9a-f]{16}/.test(modelPath)) return null;
  const path = posix.normalize(modelPath.replaceAll("\\", "/"));
  const match = UPLOAD_FOLDER.exec(path);
  return match === null ? null : UPLOAD_PREFIX + match[1]!;
}

export function uploadBytes(files: readonly UploadFile[]): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}
