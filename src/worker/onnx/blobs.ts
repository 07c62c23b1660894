/**
 * Converts between one blob per request (tensors in declared order) and one buffer per tensor (of the
 * batch).
 */
import type { TensorSpec } from "../backend.ts";

/** One buffer an input, with room for `batchSize` requests; places without a request are zero. */
export function joinInputs(
  specs: readonly TensorSpec[],
  blobs: readonly Uint8Array[],
  batchSize: number,
): ArrayBuffer[] {
  let offset = 0;
  return specs.map(({ bytes }) => {
    const tensor = new Uint8Array(bytes * batchSize);
    blobs.forEach((blob, i) => tensor.set(blob.subarray(offset, offset + bytes), i * bytes));
    offset += bytes;
    return tensor.buffer;
  });
}

/** One blob for each of the first `count` requests. With a single output they are views of its buffer. */
export function splitOutputs(
  specs: readonly TensorSpec[],
  buffers: readonly ArrayBuffer[],
  count: number,
): Uint8Array[] {
  const totalBytes = specs.reduce((sum, { bytes }) => sum + bytes, 0);
  return Array.from({ length: count }, (_, request) => {
    const parts = specs.map(({ bytes }, i) => new Uint8Array(buffers[i]!, request * bytes, bytes));
    if (parts.length === 1) return parts[0]!;
    const blob = new Uint8Array(totalBytes);
    let offset = 0;
    for (const part of parts) {
      blob.set(part, offset);
      offset += part.length;
    }
    return blob;
  });
}
