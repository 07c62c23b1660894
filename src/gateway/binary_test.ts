/** Triton's binary tensor data, in requests and answers. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Datatype, DATATYPE_BYTES } from "../core/datatype.ts";
import type { ModelDescription, TensorDescription } from "../client/catalogue.ts";
import { Pieces } from "./body.ts";
import { describedModel, GatewayRig } from "./testing.ts";
import { readInferenceRequest } from "./tensors/request.ts";
import { writeInferenceResponse } from "./tensors/response.ts";

const datatypes = Object.keys(DATATYPE_BYTES) as Datatype[];

function joined(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** A body: the JSON, and what follows it. */
function bodyOf(json: unknown, ...binary: readonly Uint8Array[]) {
  const head = new TextEncoder().encode(JSON.stringify(json));
  return { bytes: joined([head, ...binary]), jsonBytes: head.length };
}

const tensors = fc.uniqueArray(
  fc.record({
    name: fc.string({ minLength: 1, maxLength: 5 }),
    datatype: fc.constantFrom(...datatypes),
    shape: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
  }).map(({ name, datatype, shape }): TensorDescription => ({
    name,
    datatype,
    shape,
    batched: true,
    bytes: shape.reduce((product, dimension) => product * dimension, DATATYPE_BYTES[datatype]),
  })),
  { minLength: 1, maxLength: 3, selector: ({ name }) => name },
);

Deno.test("binary tensors of every type go in and come out as they are, whatever pieces they come in", () => {
  const scenario = tensors.chain((inputs) =>
    fc.record({
      inputs: fc.constant(inputs),
      order: fc.shuffledSubarray([...inputs.keys()], { minLength: inputs.length }),
      batchSize: fc.integer({ min: 1, max: 4 }),
      seed: fc.nat(255),
      cuts: fc.array(fc.nat(400), { maxLength: 4 }),
    })
  );
  fc.assert(fc.property(scenario, ({ inputs, order, batchSize, seed, cuts }) => {
    const size = inputs.reduce((sum, { bytes }) => sum + bytes, 0);
    const model = {
      inputs,
      outputs: inputs,
      inputBytes: size,
      outputBytes: size,
    } as unknown as ModelDescription;
    const data = inputs.map(({ bytes }, i) =>
      new Uint8Array(batchSize * bytes).map((_, at) => seed + 31 * i + at)
    );
    const { bytes, jsonBytes } = bodyOf({
      inputs: order.map((i) => ({
        name: inputs[i]!.name,
        datatype: inputs[i]!.datatype,
        shape: [batchSize, ...inputs[i]!.shape],
        parameters: { binary_data_size: data[i]!.length },
      })),
      parameters: { binary_data_output: true },
    }, ...order.map((i) => data[i]!));
    const ends = [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
    const pieces = new Pieces(ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end)));
    const request = readInferenceRequest(pieces, jsonBytes, model, 16);
    assert.equal(request.inputs.length, batchSize);
    // A model that gives what it takes: the answer has the same data, in the model's order.
    const results = request.inputs.map(joined);
    assert.ok(results.every((result) => result.length === size));
    const { body, headers } = writeInferenceResponse("m", "1", request, results);
    const headLength = Number(headers["inference-header-content-length"]);
    const head = JSON.parse(new TextDecoder().decode(body.subarray(0, headLength)));
    assert.deepEqual(
      head.outputs.map((output: { shape: unknown }) => output.shape),
      inputs.map(({ shape }) => [batchSize, ...shape]),
    );
    assert.deepEqual(body.subarray(headLength), joined(data));
  }));
});

async function rigOf(): Promise<GatewayRig> {
  const rig = new GatewayRig();
  rig.controller.models = [describedModel(
    0,
    "m",
    [
      { name: "a", datatype: "FP32", shape: [-1, 2] },
      { name: "b", datatype: "INT16", shape: [-1] },
    ],
    [
      { name: "c", datatype: "FP32", shape: [-1, 2] },
      { name: "d", datatype: "INT16", shape: [-1] },
    ],
  )];
  rig.controller.models.push(describedModel(
    1,
    "one",
    [{ name: "a", datatype: "FP32", shape: [-1, 2] }],
    [{ name: "c", datatype: "FP32", shape: [-1, 2] }],
  ));
  return await rig.start();
}

const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const A = { name: "a", datatype: "FP32", shape: [1, 2], parameters: { binary_data_size: 8 } };
const B = { name: "b", datatype: "INT16", shape: [1], data: [7] };

function post(rig: GatewayRig, model: string, bytes: Uint8Array<ArrayBuffer>, length: unknown) {
  return rig.ask(`/v2/models/${model}/infer`, {
    method: "POST",
    body: bytes,
    headers: {
      "content-type": "application/octet-stream",
      "inference-header-content-length": String(length),
    },
  });
}

Deno.test("binary and JSON data may be mixed, in requests and answers", async () => {
  const rig = await rigOf();
  const outputs = [{ name: "c" }, { name: "d", parameters: { binary_data: true } }];
  const { bytes, jsonBytes } = bodyOf({ id: "7", inputs: [A, B], outputs }, floats(1.5, 2));
  const response = await post(rig, "m", bytes, jsonBytes);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/octet-stream");
  const length = Number(response.headers.get("inference-header-content-length"));
  const body = new Uint8Array(await response.arrayBuffer());
  assert.deepEqual(JSON.parse(new TextDecoder().decode(body.subarray(0, length))), {
    model_name: "m",
    model_version: "0",
    id: "7",
    outputs: [
      { name: "c", datatype: "FP32", shape: [1, 2], data: [1.5, 2] },
      { name: "d", datatype: "INT16", shape: [1], parameters: { binary_data_size: 2 } },
    ],
  });
  assert.deepEqual([...body.subarray(length)], [7, 0]);
});

Deno.test("a body without JSON is the data of the only input", async () => {
  const rig = await rigOf();
  const response = await post(rig, "one", floats(1, 2, 3, 4), 0);
  const length = Number(response.headers.get("inference-header-content-length"));
  const body = new Uint8Array(await response.arrayBuffer());
  assert.deepEqual(body.subarray(length), floats(1, 2, 3, 4));
  assert.match(
    await rig.failure(post(rig, "one", new Uint8Array(7), 0)),
    /^400 the body has 7 bytes, and input "a" takes 8 a request/,
  );
  assert.match(
    await rig.failure(post(rig, "one", new Uint8Array(0), 0)),
    /^400 the body has 0 bytes/,
  );
  assert.match(
    await rig.failure(post(rig, "m", new Uint8Array(10), 0)),
    /^400 a body without JSON suits a model with one input, and this one has 2/,
  );
});

Deno.test("lengths that do not fit are refused, with the tensor's name", async () => {
  const rig = await rigOf();
  const { bytes, jsonBytes } = bodyOf({ inputs: [A, B] }, floats(1, 2));
  const wrong = (parameters: unknown, more = {}) =>
    bodyOf({ inputs: [{ ...A, parameters, ...more }, B] }, floats(1, 2));
  const cases: [ReturnType<typeof bodyOf>, unknown, RegExp][] = [
    [
      { bytes: bytes.slice(0, -1), jsonBytes },
      jsonBytes,
      /ends within the binary data of input "a"/,
    ],
    [
      { bytes: joined([bytes, bytes]), jsonBytes },
      jsonBytes,
      /follow the JSON, and the inputs' binary/,
    ],
    [{ bytes, jsonBytes }, jsonBytes - 1, /not JSON/],
    [{ bytes, jsonBytes }, jsonBytes + 1, /not JSON|ends within/],
    [{ bytes, jsonBytes }, 1e6, /Inference-Header-Content-Length is 1000000, and the body has/],
    [{ bytes, jsonBytes }, -1, /Inference-Header-Content-Length is -1, expected a number/],
    [{ bytes, jsonBytes }, "x", /expected a number of bytes/],
    [
      wrong({ binary_data_size: 4 }),
      null,
      /input "a" has 4 bytes of binary data, and its shape takes 8/,
    ],
    [wrong({ binary_data_size: "8" }), null, /input "a" has 8 bytes/],
    [wrong({ binary_data_size: 8 }, { data: [1, 2] }), null, /both "data" and binary data/],
  ];
  for (const [body, length, problem] of cases) {
    const failure = await rig.failure(post(rig, "m", body.bytes, length ?? body.jsonBytes));
    assert.match(failure, /^400 /);
    assert.match(failure, problem);
  }
  assert.equal(rig.controller.asked.length, 0);
  assert.equal((await post(rig, "m", bytes, jsonBytes)).status, 200);
});
