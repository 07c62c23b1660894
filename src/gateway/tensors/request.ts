/**
 * Parses an inference request of the Open Inference Protocol, with Triton's binary extension, into inputs
 * for the controller: one blob per request of an HTTP batch.
 */
import type { ModelDescription, TensorDescription } from "../../client/catalogue.ts";
import { isDatatype } from "../../core/datatype.ts";
import { US } from "../../core/clock.ts";
import type { Pieces } from "../body.ts";
import { HttpError } from "../http_error.ts";
import { hasInexactIntegers, parseExactly, readValues, ValuesError } from "./json_values.ts";

/** An output that is wanted, and how. */
export interface WantedOutput {
  readonly tensor: TensorDescription;
  /** Where it begins in a request's output. */
  readonly offset: number;
  readonly binary: boolean;
}

export interface InferenceRequest {
  /** Repeated in the answer; null for none. */
  readonly id: string | null;
  readonly batchSize: number;
  /** The input of each request of the batch, in pieces of the body. */
  readonly inputs: readonly (readonly Uint8Array[])[];
  readonly outputs: readonly WantedOutput[];
  /** Time allowed, in nanoseconds; null where nothing is said. */
  readonly timeoutNs: number | null;
}

type Json = Readonly<Record<string, unknown>>;

/** Values of one input for the whole batch: request after request. */
interface InputData {
  readonly batchSize: number;
  readonly slice: (start: number, end: number) => Uint8Array[];
}

/**
 * @param jsonBytes how much of the body is JSON; null: all of it.
 * @throws {HttpError} 400 that says what is wrong, with which tensor.
 */
export function readInferenceRequest(
  body: Pieces,
  jsonBytes: number | null,
  model: ModelDescription,
  maxBatchSize: number,
): InferenceRequest {
  const batched = [...model.inputs, ...model.outputs].every((tensor) => tensor.batched);
  if (jsonBytes === 0) return rawRequest(body, model, batched ? maxBatchSize : 1);
  const json = new JsonPart(body, jsonBytes ?? body.length);
  const { id, parameters, inputs, outputs } = json.value;
  if (id !== undefined && typeof id !== "string") throw bad('"id" must be text');
  if (!Array.isArray(inputs)) throw bad('"inputs" must be a list of tensors');
  const data = readInputs(inputs, json, body, model, batched ? maxBatchSize : 1);
  const batchSize = sameBatchSize(data, model);
  return {
    id: id ?? null,
    batchSize,
    inputs: rows(data, model, batchSize),
    outputs: readOutputs(outputs, parametersOf(parameters, "the request"), model),
    timeoutNs: readTimeout(parametersOf(parameters, "the request")),
  };
}

/** The JSON at the beginning of a body. */
class JsonPart {
  readonly value: Json;
  readonly #body: Pieces;
  readonly #length: number;
  #exact: Json | null = null;

  constructor(body: Pieces, length: number) {
    if (length > body.length) {
      throw bad(
        `Inference-Header-Content-Length is ${length}, and the body has ${body.length} bytes`,
      );
    }
    this.#body = body;
    this.#length = length;
    this.value = this.#parse(JSON.parse);
  }

  /** Where the JSON ends and binary data begins. */
  get length(): number {
    return this.#length;
  }

  /** The data of an input, with all digits of large integers. */
  exactData(input: number): readonly unknown[] {
    this.#exact ??= this.#parse(parseExactly);
    return (this.#exact.inputs as { data: unknown[] }[])[input]!.data;
  }

  #parse(parse: (text: string) => unknown): Json {
    let value: unknown;
    try {
      value = parse(this.#body.text(0, this.#length));
    } catch (error) {
      throw bad(`the request is not JSON: ${(error as Error).message}`);
    }
    if (!isMap(value)) throw bad("the request must be a JSON object");
    return value;
  }
}

function readInputs(
  inputs: readonly unknown[],
  json: JsonPart,
  body: Pieces,
  model: ModelDescription,
  maxBatchSize: number,
): ReadonlyMap<string, InputData> {
  const found = new Map<string, InputData>();
  let binaryAt = json.length;
  inputs.forEach((input, i) => {
    if (!isMap(input) || typeof input.name !== "string") {
      throw bad(`inputs[${i}] must be an object with a "name"`);
    }
    const { name, data } = input;
    const where = `input "${name.slice(0, 256)}"`;
    const tensor = model.inputs.find((tensor) => tensor.name === name);
    if (tensor === undefined) {
      throw bad(`there is no ${where}; the inputs are ${listed(model.inputs)}`);
    }
    if (found.has(name)) throw bad(`${where} is there twice`);
    checkDatatype(input.datatype, tensor, where);
    const batchSize = readShape(input.shape, tensor, maxBatchSize, where);
    const bytes = batchSize * tensor.bytes;
    const parameters = parametersOf(input.parameters, where);
    refuseSharedMemory(parameters, where);
    const { binary_data_size: size } = parameters;
    if (size === undefined) {
      found.set(name, { batchSize, slice: jsonData(data, i, json, tensor, batchSize, where) });
      return;
    }
    if (data !== undefined) throw bad(`${where} has both "data" and binary data`);
    if (size !== bytes) {
      throw bad(`${where} has ${size} bytes of binary data, and its shape takes ${bytes}`);
    }
    const start = binaryAt;
    binaryAt += bytes;
    if (binaryAt > body.length) {
      throw bad(
        `the body ends within the binary data of ${where}: ${body.length - json.length} bytes ` +
          `follow the JSON, and at least ${binaryAt - json.length} should`,
      );
    }
    found.set(name, { batchSize, slice: (from, to) => body.slice(start + from, start + to) });
  });
  if (binaryAt !== body.length) {
    throw bad(
      `${body.length - json.length} bytes follow the JSON, and the inputs' binary data has ` +
        `${binaryAt - json.length}`,
    );
  }
  const missing = model.inputs.filter(({ name }) => !found.has(name));
  if (missing.length > 0) throw bad(`input ${listed(missing)} is missing`);
  return found;
}

function jsonData(
  data: unknown,
  index: number,
  json: JsonPart,
  tensor: TensorDescription,
  batchSize: number,
  where: string,
): InputData["slice"] {
  if (!Array.isArray(data)) throw bad(`${where} has neither "data", a list, nor binary data`);
  const wide = tensor.datatype === "INT64" || tensor.datatype === "UINT64";
  const list = wide && hasInexactIntegers(data) ? json.exactData(index) : data;
  const elements = tensor.shape.reduce((product, dimension) => product * dimension, batchSize);
  try {
    const values = readValues(list, tensor.datatype, elements);
    return (from, to) => [values.subarray(from, to)];
  } catch (error) {
    if (error instanceof ValuesError) throw bad(`${where}: ${error.message}`);
    throw error;
  }
}

function checkDatatype(told: unknown, tensor: TensorDescription, where: string): void {
  if (told === tensor.datatype) return;
  if (told === "BYTES") {
    throw bad(`${where} is of ${tensor.datatype}; no model here takes BYTES`);
  }
  const known = typeof told === "string" && isDatatype(told);
  throw bad(
    known
      ? `${where} is of ${tensor.datatype}, not of ${told}`
      : `${where} must have a "datatype", which is ${tensor.datatype}`,
  );
}

/** The size of the batch that an input's shape tells. */
function readShape(
  shape: unknown,
  tensor: TensorDescription,
  maxBatchSize: number,
  where: string,
): number {
  const expected = `[${(tensor.batched ? ["n", ...tensor.shape] : tensor.shape).join(",")}]`;
  if (!Array.isArray(shape)) throw bad(`${where} must have a "shape", which is ${expected}`);
  const [batchSize, own] = tensor.batched ? [shape[0], shape.slice(1)] : [1, shape];
  const fits = own.length === tensor.shape.length &&
    own.every((dimension, i) => dimension === tensor.shape[i]) &&
    Number.isInteger(batchSize) && batchSize >= 1;
  if (!fits) {
    throw bad(`${where} has the shape ${shown(shape)}, expected ${expected}`);
  }
  if (batchSize > maxBatchSize) {
    throw bad(`${where} has a batch of ${batchSize}, and may have one of ${maxBatchSize}`);
  }
  return batchSize;
}

function shown(shape: readonly unknown[]): string {
  const text = JSON.stringify(shape, (_, value) => typeof value === "bigint" ? `${value}` : value);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}

function sameBatchSize(data: ReadonlyMap<string, InputData>, model: ModelDescription): number {
  const [first, ...others] = model.inputs;
  if (first === undefined) return 1;
  const { batchSize } = data.get(first.name)!;
  for (const { name } of others) {
    const other = data.get(name)!.batchSize;
    if (other !== batchSize) {
      throw bad(
        `input "${name}" has a batch of ${other}, and input "${first.name}" one of ${batchSize}`,
      );
    }
  }
  return batchSize;
}

/** The batch, cut into requests: of each the inputs in the model's order. */
function rows(
  data: ReadonlyMap<string, InputData>,
  model: ModelDescription,
  batchSize: number,
): Uint8Array[][] {
  return Array.from(
    { length: batchSize },
    (_, row) =>
      model.inputs.flatMap(({ name, bytes }) =>
        data.get(name)!.slice(row * bytes, (row + 1) * bytes)
      ),
  );
}

/** A body that is the values of a model's only input, and nothing else. */
function rawRequest(
  body: Pieces,
  model: ModelDescription,
  maxBatchSize: number,
): InferenceRequest {
  const [input, second] = model.inputs;
  if (input === undefined || second !== undefined) {
    throw bad(
      `a body without JSON suits a model with one input, and this one has ${model.inputs.length}`,
    );
  }
  const batchSize = body.length / input.bytes;
  if (!(Number.isInteger(batchSize) && batchSize >= 1 && batchSize <= maxBatchSize)) {
    throw bad(
      `the body has ${body.length} bytes, and input "${input.name}" takes ${input.bytes} a request, ` +
        `of which there may be ${maxBatchSize}`,
    );
  }
  const slice = (from: number, to: number) => body.slice(from, to);
  return {
    id: null,
    batchSize,
    inputs: rows(new Map([[input.name, { batchSize, slice }]]), model, batchSize),
    outputs: readOutputs(undefined, { binary_data_output: true }, model),
    timeoutNs: null,
  };
}

function readOutputs(outputs: unknown, parameters: Json, model: ModelDescription): WantedOutput[] {
  const allBinary = parameters.binary_data_output === true;
  const offsets = new Map<string, number>();
  let offset = 0;
  for (const { name, bytes } of model.outputs) {
    offsets.set(name, offset);
    offset += bytes;
  }
  const wanted = (tensor: TensorDescription, binary: boolean) => ({
    tensor,
    offset: offsets.get(tensor.name)!,
    binary,
  });
  if (outputs === undefined || (Array.isArray(outputs) && outputs.length === 0)) {
    return model.outputs.map((tensor) => wanted(tensor, allBinary));
  }
  if (!Array.isArray(outputs)) throw bad('"outputs" must be a list');
  const seen = new Set<string>();
  return outputs.map((output: unknown, i) => {
    if (!isMap(output) || typeof output.name !== "string") {
      throw bad(`outputs[${i}] must be an object with a "name"`);
    }
    const where = `output "${output.name.slice(0, 256)}"`;
    const tensor = model.outputs.find(({ name }) => name === output.name);
    if (tensor === undefined) {
      throw bad(`there is no ${where}; the outputs are ${listed(model.outputs)}`);
    }
    if (seen.has(tensor.name)) throw bad(`${where} is there twice`);
    seen.add(tensor.name);
    const own = parametersOf(output.parameters, where);
    refuseSharedMemory(own, where);
    if (own.classification !== undefined) {
      throw bad(`${where}: classification is not supported; sort the values yourself`);
    }
    return wanted(tensor, own.binary_data === undefined ? allBinary : own.binary_data === true);
  });
}

function readTimeout({ timeout }: Json): number | null {
  if (timeout === undefined) return null;
  if (typeof timeout !== "number" || !(timeout > 0) || timeout > Number.MAX_SAFE_INTEGER / US) {
    throw bad("the parameter timeout must be a number of microseconds, more than 0");
  }
  return timeout * US;
}

function parametersOf(parameters: unknown, where: string): Json {
  if (parameters === undefined) return {};
  if (!isMap(parameters)) throw bad(`the parameters of ${where} must be an object`);
  return parameters;
}

function refuseSharedMemory(parameters: Json, where: string): void {
  if ("shared_memory_region" in parameters) {
    throw bad(`${where}: shared memory is not supported; send the data in the request`);
  }
}

function listed(tensors: readonly TensorDescription[]): string {
  return tensors.map(({ name }) => `"${name}"`).join(", ").slice(0, 1000) || "none";
}

function isMap(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function bad(message: string): HttpError {
  return new HttpError(400, message);
}
