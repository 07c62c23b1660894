/** Data types of tensors by the names that the Open Inference Protocol gives them. */

/** Bytes of one element of each. Elements of `BYTES`, which differ in length, no model here has. */
export const DATATYPE_BYTES = {
  BOOL: 1,
  UINT8: 1,
  UINT16: 2,
  UINT32: 4,
  UINT64: 8,
  INT8: 1,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  FP16: 2,
  FP32: 4,
  FP64: 8,
} as const;

export type Datatype = keyof typeof DATATYPE_BYTES;

export function isDatatype(name: string): name is Datatype {
  return Object.hasOwn(DATATYPE_BYTES, name);
}
