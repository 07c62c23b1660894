/**
 * Model folders: finding a model by its path, and reading and writing its `model.json`.
 *
 * A model is `NAME/model.onnx` with `NAME/model.json` beside it; the emulated worker needs only the
 * second. `docs/models.md` describes the format for users.
 */
import { basename, dirname, isAbsolute, join } from "node:path";
import { z } from "zod";
import type { DataType, TensorSpec } from "./backend.ts";
import { type ModelDirs, ModelFileError } from "./model_dirs.ts";

export { MAX_PATH_LENGTH, ModelFileError } from "./model_dirs.ts";

/** A `model.json` larger than this is refused: it holds a few numbers, not weights. */
export const MAX_MODEL_JSON_BYTES = 1024 * 1024;
/** A protobuf message, hence an ONNX file without external data, cannot be larger. */
export const MAX_ONNX_BYTES = 2 ** 31 - 1;
/** No tensor of a request may be larger; it also keeps products of dimensions exact. */
const MAX_TENSOR_BYTES = 2 ** 31 - 1;

/** Bytes of one element of each data type. */
export const ELEMENT_BYTES: Readonly<Record<DataType, number>> = {
  float32: 4,
  float16: 2,
  int64: 8,
  int32: 4,
  int8: 1,
  uint64: 8,
  uint32: 4,
  uint8: 1,
  bool: 1,
};

const dataTypes = Object.keys(ELEMENT_BYTES) as [DataType, ...DataType[]];
const dimension = z.int().min(1).max(MAX_TENSOR_BYTES);
const nanoseconds = z.number().min(0).max(Number.MAX_SAFE_INTEGER);
const bytes = z.int().min(0);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const tensorSchema = z.strictObject({
  name: z.string().min(1),
  dtype: z.enum(dataTypes).default("float32"),
  shape: z.array(z.union([z.literal("batch"), dimension])).max(16).refine(
    (shape) => shape.indexOf("batch", 1) < 0,
    { message: 'only the first dimension can be "batch"' },
  ),
});

const profileSchema = z.strictObject({
  weights_load_ns: nanoseconds,
  exec_ns: z.record(
    z.string().regex(/^[1-9][0-9]{0,5}$/, "a batch size is a whole number of at least 1"),
    nanoseconds,
  ),
  onnx_sha256: sha256.optional(),
  data_sha256: sha256.optional(),
  runtime: z.string().optional(),
  verified: z.strictObject({
    output: z.string(),
    difference: z.number().min(0),
    tolerance: z.number().min(0),
  }).optional(),
});

const modelJsonSchema = z.strictObject({
  source: z.string().default(""),
  modelled: z.boolean().default(false),
  inputs: z.array(tensorSchema).optional(),
  outputs: z.array(tensorSchema).optional(),
  weights_bytes: bytes.optional(),
  batch_sizes: z.array(z.int().min(1).max(65536)).min(1).refine(
    (sizes) => sizes[0] === 1 && sizes.every((size, i) => i === 0 || size > sizes[i - 1]!),
    { message: "batch sizes must begin with 1 and ascend" },
  ).optional(),
  shapes: z.record(z.string(), z.array(dimension).min(1).max(16)).optional(),
  fill: z.record(z.string(), z.number()).optional(),
  profiles: z.record(z.string().min(1), profileSchema).default({}),
});

/** One input or output as `model.json` declares it; `"batch"` stands for the batch dimension. */
export type TensorDeclaration = z.infer<typeof tensorSchema>;
/** The contents of a `model.json`; every field but the last may be absent from the file. */
export type ModelJson = z.infer<typeof modelJsonSchema>;

/** Where a model is and what its `model.json` says. All paths are absolute. */
export interface ModelFolder {
  /** The folder's name, or the file's when it is not called `model.onnx`. */
  readonly name: string;
  readonly folder: string;
  /** Null when there are only figures, for the emulated worker. */
  readonly onnxPath: string | null;
  /** Where `model.json` is, or would be written. */
  readonly jsonPath: string;
  /** Null when there is no such file. */
  readonly json: ModelJson | null;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

type Location = Omit<ModelFolder, "json">;

function locateStem(stem: string): Location | null {
  const onnxPath = stem + ".onnx";
  const jsonPath = stem + ".json";
  const hasOnnx = isFile(onnxPath);
  if (!hasOnnx && !isFile(jsonPath)) return null;
  const folder = dirname(stem);
  const name = basename(stem) === "model" ? basename(folder) : basename(stem);
  return { name, folder, onnxPath: hasOnnx ? onnxPath : null, jsonPath };
}

/** The only `.onnx` file of a folder that has no `model.onnx`, as a stem; null if none or several. */
function onlyOnnxStem(folder: string): string | null {
  let found: string | null = null;
  for (const entry of Deno.readDirSync(folder)) {
    if (!entry.name.endsWith(".onnx") || entry.isDirectory) continue;
    if (found !== null) return null;
    found = join(folder, entry.name.slice(0, -".onnx".length));
  }
  return found;
}

/**
 * Finds a model by path: an `.onnx` file, the folder that holds `model.onnx` or `model.json`, or
 * either of these without its extension (`NAME/model`). Relative paths are looked up in `dirs`.
 *
 * @throws {ModelFileError} when there is no such model, or it may not be read.
 */
export function locateModel(path: string, dirs: ModelDirs): Location {
  const problems: string[] = [];
  for (const absolute of dirs.candidates(path)) {
    const location = locateAt(absolute);
    if (typeof location === "string") {
      problems.push(location);
      continue;
    }
    const { onnxPath, jsonPath } = location;
    if (onnxPath !== null) dirs.confine(onnxPath);
    if (isFile(jsonPath)) dirs.confine(jsonPath);
    return location;
  }
  const found = problems.find((problem) => problem !== "");
  if (found !== undefined) throw new ModelFileError(found);
  const where = isAbsolute(path) ? "" : ` (looked up in ${dirs.dirs.join(", ")})`;
  throw new ModelFileError(
    `no model at ${path}${where}: expected an .onnx file, a folder with model.onnx or ` +
      "model.json, or NAME/model",
  );
}

/** What is at an absolute path, or what is wrong with it: "" when there is nothing. */
function locateAt(absolute: string): Location | string {
  if (isDirectory(absolute)) {
    const usual = locateStem(join(absolute, "model"));
    if (usual !== null) return usual;
    const stem = onlyOnnxStem(absolute);
    return (stem === null ? null : locateStem(stem)) ??
      `${absolute} holds neither model.onnx nor model.json, nor exactly one other .onnx file; ` +
        "name the .onnx file itself";
  }
  const location = locateStem(absolute.replace(/\.(onnx|json)$/, ""));
  const lacksOnnx = absolute.endsWith(".onnx") && location?.onnxPath === null;
  return location === null || lacksOnnx ? "" : location;
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const where = issue.path.map(String).join(".");
  // What is wrong with a record's key is one level deeper.
  const message = issue.code === "invalid_key"
    ? issue.issues[0]?.message ?? issue.message
    : issue.message;
  return where === "" ? message : `${where}: ${message}`;
}

/**
 * Reads text as a `model.json`. `path` is only for messages.
 *
 * @throws {ModelFileError} naming each field that is wrong.
 */
export function parseModelJson(text: string, path: string): ModelJson {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ModelFileError(`${path} is not JSON: ${(error as Error).message}`);
  }
  const parsed = modelJsonSchema.safeParse(value);
  if (!parsed.success) {
    const issues = parsed.error.issues.slice(0, 5).map(describeIssue).join("; ");
    throw new ModelFileError(
      `${path} is not a valid model.json: ${issues}; see docs/models.md for the format`,
    );
  }
  return parsed.data;
}

/**
 * Finds a model and reads its `model.json`; see {@link locateModel} for the forms of `path`.
 *
 * @throws {ModelFileError} when there is no such model or its `model.json` is wrong.
 */
export function readModelFolder(path: string, dirs: ModelDirs): ModelFolder {
  const location = locateModel(path, dirs);
  return { ...location, json: readModelJson(location.jsonPath) };
}

/** Reads one `model.json`; null when there is none. Throws {@link ModelFileError}. */
export function readModelJson(jsonPath: string): ModelJson | null {
  let text: string;
  try {
    const size = Deno.statSync(jsonPath).size;
    if (size > MAX_MODEL_JSON_BYTES) {
      throw new ModelFileError(
        `${jsonPath} has ${size} bytes; a model.json may have at most ${MAX_MODEL_JSON_BYTES}`,
      );
    }
    text = Deno.readTextFileSync(jsonPath);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    if (error instanceof ModelFileError) throw error;
    throw new ModelFileError(`cannot read ${jsonPath}: ${(error as Error).message}`);
  }
  return parseModelJson(text, jsonPath);
}

/**
 * Writes a `model.json` so that a reader sees the old file or the new one, never a part.
 *
 * @throws what the file system says, e.g. when the folder is read-only.
 */
export function writeModelJson(jsonPath: string, json: ModelJson): void {
  // The random part keeps two processes that profile the same model from sharing a temporary file.
  const temporary = `${jsonPath}.${crypto.randomUUID()}.tmp`;
  try {
    Deno.writeTextFileSync(temporary, JSON.stringify(json, null, 2) + "\n");
    Deno.renameSync(temporary, jsonPath);
  } catch (error) {
    try {
      Deno.removeSync(temporary);
    } catch {
      // It was never made.
    }
    throw error;
  }
}

/**
 * One input or output per request. `shape` is what is left when the batch dimension is taken away
 * (`batched`), or all of it.
 *
 * @throws {ModelFileError} when it would be too large.
 */
export function tensorSpec(
  name: string,
  dtype: DataType,
  shape: readonly number[],
  batched: boolean,
): TensorSpec {
  const size = shape.reduce((product, dim) => product * dim, ELEMENT_BYTES[dtype]);
  if (!(size <= MAX_TENSOR_BYTES)) {
    throw new ModelFileError(
      `tensor "${name}" [${shape.join(",")}] has ${size} bytes; the limit is ${MAX_TENSOR_BYTES}`,
    );
  }
  return { name, dtype, shape: [...shape], batched, bytes: size };
}

/** What declared tensors mean, in the executors' terms. Throws {@link ModelFileError}. */
export function declaredSpecs(tensors: readonly TensorDeclaration[]): TensorSpec[] {
  return tensors.map(({ name, dtype, shape }) => {
    const dims = shape.filter((dim) => dim !== "batch");
    return tensorSpec(name, dtype, dims, dims.length < shape.length);
  });
}
