/**
 * ONNX files as objects. The only file that knows `onnx-proto`, whose typings admit null and `Long`
 * almost everywhere; the types here say what its decoder really makes.
 */
import proto from "onnx-proto";
import { checkFields } from "./check_fields.ts";

/** protobufjs makes a `Long` of an int64; `Number(x)` reads either. */
export type Int64 = number | { toString(): string };

/** `AttributeProto`: one of its fields is set, as its name's definition demands. */
export interface Attribute {
  name: string;
  f?: number;
  i?: Int64;
  ints?: Int64[];
  t?: Tensor | null;
  g?: Graph | null;
  graphs?: Graph[];
  type?: number;
}

export interface Node {
  name?: string;
  opType: string;
  domain?: string;
  input: string[];
  output: string[];
  attribute?: Attribute[];
}

/** `TensorProto`: data is in `rawData`, or in the typed array of its data type. */
export interface Tensor {
  name?: string;
  dims?: Int64[];
  dataType: number;
  rawData?: Uint8Array;
  floatData?: number[];
  int32Data?: number[];
  int64Data?: Int64[];
  /** 1 when the data is in another file, which `externalData` names. */
  dataLocation?: number;
  externalData?: { key?: string; value?: string }[];
}

export interface Dimension {
  dimValue?: Int64;
  dimParam?: string;
}

export interface ValueInfo {
  name: string;
  type?: { tensorType?: { elemType?: number; shape?: { dim: Dimension[] } | null } | null } | null;
}

export interface Graph {
  name: string;
  node: Node[];
  initializer: Tensor[];
  sparseInitializer?: unknown[];
  input: ValueInfo[];
  output: ValueInfo[];
  valueInfo?: ValueInfo[];
}

export interface Model {
  irVersion: Int64;
  opsetImport: { domain?: string; version: Int64 }[];
  producerName?: string;
  graph: Graph;
  functions?: unknown[];
}

interface Codec {
  decode(bytes: Uint8Array): Model;
  encode(model: Model): { finish(): Uint8Array };
}

// The library's own types cannot be satisfied by what its decoder returns.
const codec = (proto as unknown as { onnx: { ModelProto: Codec } }).onnx.ModelProto;

/** `AttributeProto.AttributeType`. */
export const AttributeType = { float: 1, int: 2, tensor: 4, ints: 7 } as const;

/** A file that is not an ONNX model. */
export class NotOnnxError extends Error {
  override readonly name = "NotOnnxError";
}

/**
 * Reads an ONNX file. Raw tensor data is not copied: it stays a view of `bytes`.
 *
 * @throws {NotOnnxError}
 */
export function decodeModel(bytes: Uint8Array): Model {
  let model: Model;
  try {
    checkFields(bytes);
    model = codec.decode(bytes);
  } catch (error) {
    throw new NotOnnxError(`not an ONNX file: ${(error as Error).message}`);
  }
  // Protobuf skips fields that it does not know, so that other files may well decode to nothing.
  if (!model.graph || model.graph.output.length === 0 || model.opsetImport.length === 0) {
    throw new NotOnnxError("not an ONNX file: it has no graph with outputs and an operator set");
  }
  return model;
}

export function encodeModel(model: Model): Uint8Array<ArrayBuffer> {
  // finish() may return a part of a pooled buffer of another kind.
  return new Uint8Array(codec.encode(model).finish());
}

/** The dimensions of a tensor. */
export function dimsOf(tensor: Tensor): number[] {
  return (tensor.dims ?? []).map(Number);
}
