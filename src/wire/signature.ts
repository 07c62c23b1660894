/** A model's inputs and outputs, as sent in messages. */
import { DATATYPE_BYTES, isDatatype } from "../core/datatype.ts";
import type { ModelFacts, Signature, Tensor } from "./messages.ts";

/** Stands, as the first dimension of a shape, for the number of requests in a batch. */
export const BATCH_DIMENSION = -1;

/** The shape of one request's share of a tensor: without the batch dimension, if it has one. */
export function requestShape({ shape }: Tensor): readonly number[] {
  return isBatched({ shape }) ? shape.slice(1) : shape;
}

/** Whether requests of a batch lie one after the other in a first dimension of their own. */
export function isBatched({ shape }: Pick<Tensor, "shape">): boolean {
  return shape[0] === BATCH_DIMENSION;
}

/** Bytes of one request's share of a tensor; NaN when the tensor cannot be. */
export function tensorBytes(tensor: Tensor): number {
  if (!isDatatype(tensor.datatype)) return NaN;
  return requestShape(tensor).reduce(
    (product, dimension) => dimension >= 0 ? product * dimension : NaN,
    DATATYPE_BYTES[tensor.datatype],
  );
}

/** Why a signature is not that of a model with these sizes; null if it may be. */
export function signatureProblem(
  { inputs, outputs }: Signature,
  { input_size, output_size }: Pick<ModelFacts, "input_size" | "output_size">,
): string | null {
  return sideProblem("input", inputs, input_size) ?? sideProblem("output", outputs, output_size);
}

function sideProblem(side: string, tensors: readonly Tensor[], size: number): string | null {
  const names = new Set<string>();
  let sum = 0;
  for (const tensor of tensors) {
    const bytes = tensorBytes(tensor);
    if (Number.isNaN(bytes)) {
      return `${side} "${tensor.name}" cannot be a ${tensor.datatype}[${tensor.shape}]`;
    }
    if (names.has(tensor.name)) return `it has two ${side}s "${tensor.name}"`;
    names.add(tensor.name);
    sum += bytes;
  }
  return sum === size ? null : `its ${side}s have ${sum} bytes, and it says ${size}`;
}
