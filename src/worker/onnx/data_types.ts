/** Data types of tensors: ONNX's numbers, ONNX Runtime's names and JavaScript's arrays. */
import { Random } from "../../core/random.ts";
import type { DataType } from "../backend.ts";
import type { Tensor } from "./proto.ts";

/** `TensorProto.DataType` of the types that a request may carry. */
const ONNX_TYPES: Readonly<Record<DataType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  uint32: 12,
  uint64: 13,
};

const ONNX_TYPE_NAMES = [
  "undefined",
  "float32",
  "uint8",
  "int8",
  "uint16",
  "int16",
  "int32",
  "int64",
  "string",
  "bool",
  "float16",
  "float64",
  "uint32",
  "uint64",
  "complex64",
  "complex128",
  "bfloat16",
];

/** ONNX's number of a data type. */
export function onnxType(dtype: DataType): number {
  return ONNX_TYPES[dtype];
}

/** The data type that ONNX numbers so; undefined when requests cannot carry it. */
export function dataTypeOf(onnx: number): DataType | undefined {
  const name = ONNX_TYPE_NAMES[onnx];
  return name !== undefined && name in ONNX_TYPES ? name as DataType : undefined;
}

/** For messages, also of types that requests cannot carry. */
export function onnxTypeName(onnx: number): string {
  return ONNX_TYPE_NAMES[onnx] ?? `type ${onnx}`;
}

export type TensorData =
  | Float32Array<ArrayBuffer>
  | Float16Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>;

const ARRAYS = {
  float32: Float32Array,
  float16: Float16Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

/** A view of the whole buffer as elements of `dtype`. */
export function viewAs(dtype: DataType, buffer: ArrayBuffer): TensorData {
  return new ARRAYS[dtype](buffer);
}

/** Bytes of an ONNX tensor whose elements are float32 or float16; undefined if it has none here. */
export function floatBytes(tensor: Tensor): Uint8Array | undefined {
  if (tensor.dataLocation === 1) return undefined;
  if (tensor.rawData !== undefined && tensor.rawData.length > 0) return tensor.rawData;
  if (tensor.dataType === ONNX_TYPES.float32 && tensor.floatData?.length) {
    return new Uint8Array(new Float32Array(tensor.floatData).buffer);
  }
  if (tensor.dataType === ONNX_TYPES.float16 && tensor.int32Data?.length) {
    return new Uint8Array(new Uint16Array(tensor.int32Data).buffer);
  }
  return undefined;
}

/**
 * Fills a buffer with seeded values that most models accept: floats in [-1, 1), bytes of any value, and
 * zeros and ones for the wider integers, which are often indices.
 */
export function fillSeeded(dtype: DataType, buffer: ArrayBuffer, seed: number): void {
  const random = new Random(seed);
  const data = viewAs(dtype, buffer);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    for (let i = 0; i < data.length; i++) data[i] = BigInt(random.below(2));
  } else if (data instanceof Float32Array || data instanceof Float16Array) {
    for (let i = 0; i < data.length; i++) data[i] = random.float() * 2 - 1;
  } else {
    const bound = dtype === "uint8" || dtype === "int8" ? 256 : 2;
    for (let i = 0; i < data.length; i++) data[i] = random.below(bound);
  }
}
