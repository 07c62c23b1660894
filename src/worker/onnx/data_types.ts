/** Data types of tensors: ONNX's numbers, ONNX Runtime's names and JavaScript's arrays. */
import { Random } from "../../core/random.ts";
import type { DataType } from "../backend.ts";

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

/** Bytes of one element of each ONNX type, in the order of their numbers; 4-bit types follow from 21 on. */
const ELEMENT_SIZES = [0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 8, 16, 2, 1, 1, 1, 1, 0.5, 0.5];

/** Bytes of one element of a type that ONNX numbers so; 0 where it has no fixed size. */
export function elementBytes(onnx: number): number {
  return ELEMENT_SIZES[onnx] ?? 0;
}

/** Makes every element `value`, which must be whole unless `dtype` is a float. */
export function fillWith(dtype: DataType, buffer: ArrayBuffer, value: number): void {
  const data = viewAs(dtype, buffer);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) data.fill(BigInt(value));
  else data.fill(value);
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
