/** The answer to an inference request, in JSON or with binary data after it. */
import type { InferenceRequest, WantedOutput } from "./request.ts";
import { writeValues } from "./json_values.ts";

/** A body, and what has to be said of it in headers. */
export interface ResponseBody {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * @param results the output of each request of the batch; they are not needed any more afterwards.
 */
export function writeInferenceResponse(
  modelName: string,
  version: string,
  { id, batchSize, outputs }: InferenceRequest,
  results: readonly Uint8Array[],
): ResponseBody {
  const binary: Uint8Array[] = [];
  const tensors = outputs.map((output) => {
    const { tensor: { name, datatype, shape, batched } } = output;
    const head = JSON.stringify({
      name,
      datatype,
      shape: batched ? [batchSize, ...shape] : shape,
    }).slice(0, -1);
    const parts = partsOf(output, results);
    if (!output.binary) {
      const values = parts.map((part) => writeValues(part, datatype));
      return `${head},"data":[${values.filter((text) => text !== "").join(",")}]}`;
    }
    binary.push(...parts);
    const size = parts.reduce((sum, { length }) => sum + length, 0);
    return `${head},"parameters":{"binary_data_size":${size}}}`;
  });
  const top = JSON.stringify({
    model_name: modelName,
    model_version: version,
    ...(id === null ? {} : { id }),
  }).slice(0, -1);
  const json = new TextEncoder().encode(`${top},"outputs":[${tensors.join(",")}]}`);
  if (!outputs.some((output) => output.binary)) {
    return { body: json, headers: { "content-type": "application/json" } };
  }
  return {
    body: concatenated([json, ...binary]),
    headers: {
      "content-type": "application/octet-stream",
      "inference-header-content-length": String(json.length),
    },
  };
}

/** One output's part of each request's result. */
function partsOf({ tensor, offset }: WantedOutput, results: readonly Uint8Array[]): Uint8Array[] {
  return results.map((result) => result.subarray(offset, offset + tensor.bytes));
}

function concatenated(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}
