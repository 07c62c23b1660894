/** Reads an ONNX file and its files of weights, and returns its inputs and outputs. */
import { dirname, isAbsolute, join, normalize } from "node:path";
import { ActionStatus } from "../../core/status.ts";
import { isInside } from "../model_dirs.ts";
import { elementBytes, onnxType } from "./data_types.ts";
import { allTensors } from "./graph.ts";
import { lighten } from "./lighten.ts";
import type { ExternalFile } from "./ort.ts";
import { type GraphPlan, ModelShapeError, planGraph } from "./plan.ts";
import { decodeModel, dimsOf, NotOnnxError, type Tensor } from "./proto.ts";
import { type ModelSource, OperationError } from "./protocol.ts";

/** `TensorProto.DataLocation` of data in another file. */
const EXTERNAL = 1;

export interface ReadModel {
  /** The ONNX file, possibly without its large weights, which are in `externalData` then. */
  readonly bytes: Uint8Array;
  readonly plan: GraphPlan;
  /** Bytes of all initializers and constants, wherever they end up. */
  readonly weightsBytes: number;
  /** Whether any of them are float16. */
  readonly halfPrecision: boolean;
  readonly externalData: readonly ExternalFile[];
  /** Hash of the external files; null when there are none. */
  readonly dataSha256: string | null;
}

function refuse(message: string): OperationError {
  return new OperationError(ActionStatus.invalidModelPath, message);
}

function bytesOf(tensor: Tensor): number {
  if (tensor.rawData !== undefined && tensor.rawData.length > 0) return tensor.rawData.length;
  return dimsOf(tensor).reduce((product, dim) => product * dim, elementBytes(tensor.dataType));
}

/** The files that tensors name, each once. They must be in the model's folder or below. */
function externalPaths(tensors: readonly Tensor[]): string[] {
  const paths = new Set<string>();
  for (const tensor of tensors) {
    if (tensor.dataLocation !== EXTERNAL) continue;
    const location = tensor.externalData?.find(({ key }) => key === "location")?.value ?? "";
    const name = normalize(location);
    if (location === "" || isAbsolute(location) || name.startsWith("..") || name.includes("\0")) {
      throw refuse(
        `tensor "${tensor.name}" is in the file "${location}", which must be a path within the ` +
          "model's folder",
      );
    }
    paths.add(location);
  }
  return [...paths];
}

async function readExternal(
  paths: readonly string[],
  { path: onnxPath, realDirs, file, maxBytes }: ModelSource,
): Promise<ExternalFile[]> {
  const files: ExternalFile[] = [];
  let totalBytes = file.byteLength;
  for (const path of paths) {
    const full = join(dirname(onnxPath), path);
    try {
      const { isFile, size } = await Deno.stat(full);
      if (!isFile) throw new Error("it is not a file");
      if (realDirs !== null && !isInside(full, realDirs)) {
        throw new Error(`it is a link to what is outside ${realDirs.join(", ")}`);
      }
      totalBytes += size;
      if (totalBytes > maxBytes) {
        throw new Error(`with it the model has ${totalBytes} bytes; the limit is ${maxBytes}`);
      }
      files.push({ path, data: await Deno.readFile(full) });
    } catch (error) {
      throw refuse(`cannot read the weights in ${full}: ${(error as Error).message}`);
    }
  }
  return files;
}

async function sha256(files: readonly ExternalFile[]): Promise<string | null> {
  if (files.length === 0) return null;
  const hashes = new Uint8Array(32 * files.length);
  for (const [i, { data }] of files.entries()) {
    const digest = await crypto.subtle.digest("SHA-256", data as Uint8Array<ArrayBuffer>);
    hashes.set(new Uint8Array(digest), 32 * i);
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", hashes)).toHex();
}

/** @throws {OperationError} when it is not a model, or not one that can be served. */
export async function readModel(source: ModelSource): Promise<ReadModel> {
  try {
    const file = new Uint8Array(source.file);
    const model = decodeModel(file);
    const tensors = allTensors(model.graph);
    const plan = planGraph(model, source.shapes, source.generalShapes, source.fill);
    const weightsBytes = tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
    if (!(weightsBytes <= Number.MAX_SAFE_INTEGER && weightsBytes >= 0)) {
      throw refuse("the dimensions of its weights make no sense: the file is damaged");
    }
    const others = await readExternal(externalPaths(tensors), source);
    const light = lighten(model, file);
    return {
      bytes: light.bytes,
      plan,
      weightsBytes,
      halfPrecision: tensors.some(({ dataType }) => dataType === onnxType("float16")),
      externalData: [...others, ...light.externalData],
      dataSha256: await sha256(others),
    };
  } catch (error) {
    if (error instanceof NotOnnxError || error instanceof ModelShapeError) {
      throw refuse(error.message);
    }
    throw error;
  }
}
