/** A model's inputs and outputs, as sent to the controller. */
import type { Datatype } from "../core/datatype.ts";
import {
  MAX_DIMENSIONS,
  MAX_TENSOR_NAME_LENGTH,
  MAX_TENSORS,
  type Signature,
  type Tensor,
} from "../wire/messages.ts";
import { BATCH_DIMENSION } from "../wire/signature.ts";
import type { BackendModel, DataType, TensorSpec } from "./backend.ts";

const DATATYPES: Readonly<Record<DataType, Datatype>> = {
  float32: "FP32",
  float16: "FP16",
  int64: "INT64",
  int32: "INT32",
  int8: "INT8",
  uint64: "UINT64",
  uint32: "UINT32",
  uint8: "UINT8",
  bool: "BOOL",
};

export function signatureOf({ inputs, outputs }: BackendModel): Signature {
  return { inputs: inputs.map(tensorOf), outputs: outputs.map(tensorOf) };
}

function tensorOf({ name, dtype, shape, batched }: TensorSpec): Tensor {
  const datatype = DATATYPES[dtype];
  return { name, datatype, shape: batched ? [BATCH_DIMENSION, ...shape] : shape };
}

/** Why a signature cannot be told, for which no worker may serve its model; null if it can. */
export function signatureRefusal({ inputs, outputs }: Signature): string | null {
  if (inputs.length > MAX_TENSORS || outputs.length > MAX_TENSORS) {
    return `it has ${inputs.length} inputs and ${outputs.length} outputs, and may have ` +
      `${MAX_TENSORS} of each`;
  }
  for (const { name, shape } of [...inputs, ...outputs]) {
    if (name.length > MAX_TENSOR_NAME_LENGTH) {
      return `the name of its tensor ${name.slice(0, 80)}… has ${name.length} characters, and ` +
        `may have ${MAX_TENSOR_NAME_LENGTH}`;
    }
    if (shape.length > MAX_DIMENSIONS) {
      return `its tensor "${name}" has ${shape.length} dimensions, and may have ${MAX_DIMENSIONS}`;
    }
  }
  return null;
}
