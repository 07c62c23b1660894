/** The Open Inference Protocol, version 2, over HTTP: each endpoint and each of its errors. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { describedModel, GatewayRig, type RigOptions } from "./testing.ts";

const X = { name: "x", datatype: "FP32", shape: [-1, 2] };
const Y = { name: "y", datatype: "FP32", shape: [-1, 2] };

/** A gateway with `echo` (2 copies), which answers with its input, and a model without a batch. */
async function rigOf(options: RigOptions = {}): Promise<GatewayRig> {
  const rig = new GatewayRig(options);
  rig.controller.models = [
    describedModel(7, "zoo/echo/model", [X], [Y], 2),
    describedModel(
      20,
      "pair",
      [
        { name: "ids", datatype: "INT64", shape: [-1, 2] },
        { name: "mask", datatype: "BOOL", shape: [-1, 3] },
      ],
      [
        { name: "a", datatype: "INT64", shape: [-1, 2] },
        { name: "b", datatype: "BOOL", shape: [-1, 3] },
      ],
    ),
    describedModel(
      30,
      "whole",
      [{ name: "x", datatype: "UINT8", shape: [1, 4] }],
      [{ name: "y", datatype: "UINT8", shape: [4] }],
    ),
  ];
  return await rig.start();
}

const one = (data: unknown, shape = [1, 2]) => ({
  inputs: [{ name: "x", shape, datatype: "FP32", data }],
});

Deno.test("server metadata, liveness and readiness", async () => {
  const rig = await rigOf();
  assert.deepEqual(await (await rig.ask("/v2")).json(), {
    name: "clockwork",
    version: "1.2.3",
    extensions: ["binary_tensor_data", "model_repository", "model_configuration", "statistics"],
  });
  assert.equal((await rig.ask("/v2/health/live")).status, 200);
  const ready = await rig.ask("/v2/health/ready");
  assert.equal(ready.status, 200);
  assert.deepEqual(await ready.json(), { ready: true, controller: "serving" });
  assert.equal(ready.headers.get("content-type"), "application/json");
  const head = await rig.ask("/v2", { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal(await head.text(), "");
});

Deno.test("model metadata, with and without a version, and readiness", async () => {
  const rig = await rigOf();
  const metadata = {
    name: "echo",
    versions: ["7", "8"],
    platform: "onnxruntime_onnx",
    inputs: [X],
    outputs: [Y],
  };
  assert.deepEqual(await (await rig.ask("/v2/models/echo")).json(), metadata);
  assert.deepEqual(await (await rig.ask("/v2/models/echo/versions/8")).json(), {
    ...metadata,
    versions: ["8"],
  });
  const { inputs } = await (await rig.ask("/v2/models/whole")).json();
  assert.deepEqual(inputs, [{ name: "x", datatype: "UINT8", shape: [1, 4] }]);
  for (const path of ["echo", "echo/versions/7"]) {
    assert.equal((await rig.ask(`/v2/models/${path}/ready`)).status, 200);
  }
  rig.controller.models = rig.controller.models.map((m) => ({ ...m, model_status: "unavailable" }));
  rig.controller.changed();
  await rig.pass(SECOND);
  assert.equal((await rig.ask("/v2/models/echo/ready")).status, 503);
});

Deno.test("unknown models, versions, paths and methods", async () => {
  const rig = await rigOf();
  const { failure } = rig;
  assert.match(await failure(rig.ask("/v2/models/none")), /^404 unknown model "none"/);
  assert.match(await failure(rig.post("/v2/models/none/infer", one([1, 2]))), /^404 unknown model/);
  for (const version of ["9", "1", "-1", "07", "x", "99999999999"]) {
    const path = `/v2/models/echo/versions/${version}`;
    assert.match(await failure(rig.ask(path)), /^404 model "echo" has no version/);
    assert.match(await failure(rig.post(`${path}/infer`, one([1, 2]))), /^404 .* has no version/);
  }
  assert.match(await failure(rig.ask("/v3")), /^404 there is no \/v3/);
  const wrong = await rig.ask("/v2/models/echo/infer");
  assert.equal(wrong.status, 405);
  assert.equal(wrong.headers.get("allow"), "POST");
  assert.match((await wrong.json()).error, /GET is not possible here, but POST is/);
  assert.equal((await rig.ask("/v2", { method: "DELETE" })).status, 405);
});

Deno.test("an inference in JSON: flat or nested, with its id", async () => {
  const rig = await rigOf();
  for (const data of [[1.5, -2], [[1.5, -2]]]) {
    const response = await rig.post("/v2/models/echo/infer", { id: "a-1", ...one(data) });
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), {
      model_name: "echo",
      model_version: "7",
      id: "a-1",
      outputs: [{ name: "y", datatype: "FP32", shape: [1, 2], data: [1.5, -2] }],
    });
  }
  const version = await rig.post("/v2/models/echo/versions/8/infer", one([1, 2]));
  const answer = await version.json();
  assert.equal(answer.model_version, "8");
  assert.ok(!("id" in answer));
  const asked = rig.controller.asked.filter(({ kind }) => kind === "InferRequest");
  assert.deepEqual(
    asked.map(({ header }) => (header as { model_id: number }).model_id),
    [7, 7, 8],
  );
});

Deno.test("several inputs in any order; chosen outputs in the order asked for", async () => {
  const rig = await rigOf();
  const response = await rig.post("/v2/models/pair/infer", {
    inputs: [
      { name: "mask", shape: [1, 3], datatype: "BOOL", data: [true, false, true] },
      { name: "ids", shape: [1, 2], datatype: "INT64", data: [1, -1] },
    ],
    outputs: [{ name: "b" }, { name: "a" }],
  });
  assert.deepEqual((await response.json()).outputs, [
    { name: "b", datatype: "BOOL", shape: [1, 3], data: [true, false, true] },
    { name: "a", datatype: "INT64", shape: [1, 2], data: [1, -1] },
  ]);
  const large = await rig.post(
    "/v2/models/pair/infer",
    '{"inputs":[{"name":"ids","shape":[1,2],"datatype":"INT64","data":[9007199254740993,-9223372036854775808]},' +
      '{"name":"mask","shape":[1,3],"datatype":"BOOL","data":[true,true,false]}],"outputs":[{"name":"a"}]}',
  );
  assert.match(await large.text(), /"data":\[9007199254740993,-9223372036854775808\]/);
});

Deno.test("a batch is as many requests, and its answer is put together in their order", async () => {
  const rig = await rigOf();
  const response = await rig.post("/v2/models/echo/infer", one([[1, 2], [3, 4], [5, 6]], [3, 2]));
  const { outputs } = await response.json();
  assert.deepEqual(outputs, [{
    name: "y",
    datatype: "FP32",
    shape: [3, 2],
    data: [1, 2, 3, 4, 5, 6],
  }]);
  assert.equal(rig.controller.asked.length, 3);
  assert.ok(rig.controller.asked.every(({ payload }) => payload.length === 8));
  assert.deepEqual(rig.records.map(({ httpStatus, batchSize }) => [httpStatus, batchSize]), [[
    200,
    3,
  ]]);

  let count = 0;
  rig.controller.infer = (input) => ++count === 2 ? [1, "the GPU is lost"] : input;
  const failed = rig.post("/v2/models/echo/infer", one([1, 2, 3, 4, 5, 6], [3, 2]));
  assert.equal(await rig.failure(failed), "500 the GPU is lost");
});

Deno.test("a model without a batch dimension takes its whole shape, and one request at a time", async () => {
  const rig = await rigOf();
  const ask = (shape: number[]) =>
    rig.post("/v2/models/whole/infer", {
      inputs: [{ name: "x", shape, datatype: "UINT8", data: [1, 2, 3, 4] }],
    });
  const { outputs } = await (await ask([1, 4])).json();
  assert.deepEqual(outputs, [{ name: "y", datatype: "UINT8", shape: [4], data: [1, 2, 3, 4] }]);
  assert.equal(
    await rig.failure(ask([2, 4])),
    '400 input "x" has the shape [2,4], expected [1,4]',
  );
});

Deno.test("what is wrong with an inference is said with the tensor's name", async () => {
  const rig = await rigOf({ limits: { maxBatchSize: 4 } });
  const x = { name: "x", shape: [1, 2], datatype: "FP32", data: [1, 2] };
  const cases: [unknown, RegExp][] = [
    ["{", /the request is not JSON/],
    ["", /the request is not JSON/],
    ["[]", /must be a JSON object/],
    ["\xff\xfe", /the request is not JSON/],
    [{}, /"inputs" must be a list/],
    [{ inputs: [] }, /input "x" is missing/],
    [{ inputs: [5] }, /inputs\[0\] must be an object with a "name"/],
    [{ inputs: [{ ...x, name: "z" }] }, /there is no input "z"; the inputs are "x"/],
    [{ inputs: [x, x] }, /input "x" is there twice/],
    [{ inputs: [{ ...x, datatype: "INT8" }] }, /input "x" is of FP32, not of INT8/],
    [{ inputs: [{ ...x, datatype: "BYTES" }] }, /input "x" is of FP32; no model here takes BYTES/],
    [{ inputs: [{ ...x, datatype: "FLOAT" }] }, /input "x" must have a "datatype", which is FP32/],
    [{ inputs: [{ ...x, shape: undefined }] }, /input "x" must have a "shape", which is \[n,2\]/],
    [{ inputs: [{ ...x, shape: [2] }] }, /input "x" has the shape \[2\], expected \[n,2\]/],
    [{ inputs: [{ ...x, shape: [0, 2] }] }, /input "x" has the shape \[0,2\]/],
    [{ inputs: [{ ...x, shape: [-1, 2] }] }, /input "x" has the shape \[-1,2\]/],
    [{ inputs: [{ ...x, shape: [1, 3] }] }, /input "x" has the shape \[1,3\], expected \[n,2\]/],
    [{ inputs: [{ ...x, shape: [1e300, 2] }] }, /has a batch of 1e\+300, and may have one of 4/],
    [
      { inputs: [{ ...x, shape: [5, 2], data: new Array(10).fill(0) }] },
      /input "x" has a batch of 5, and may have one of 4/,
    ],
    [
      { inputs: [{ ...x, data: undefined }] },
      /input "x" has neither "data", a list, nor binary data/,
    ],
    [{ inputs: [{ ...x, data: [1] }] }, /input "x": 2 values were expected, and there are 1/],
    [{ inputs: [{ ...x, data: [1, 2, 3] }] }, /input "x": there are more than 2 values/],
    [{ inputs: [{ ...x, data: [1, "2"] }] }, /input "x": value 1 is "2", expected a number/],
    [
      { inputs: [{ ...x, parameters: { shared_memory_region: "r" } }] },
      /shared memory is not supported/,
    ],
    [{ inputs: [{ ...x, parameters: 5 }] }, /the parameters of input "x" must be an object/],
    [{ inputs: [x], outputs: 5 }, /"outputs" must be a list/],
    [{ inputs: [x], outputs: [{ name: "z" }] }, /there is no output "z"; the outputs are "y"/],
    [{ inputs: [x], outputs: [{ name: "y" }, { name: "y" }] }, /output "y" is there twice/],
    [
      { inputs: [x], outputs: [{ name: "y", parameters: { classification: 3 } }] },
      /output "y": classification is not supported/,
    ],
    [{ inputs: [x], id: 5 }, /"id" must be text/],
    [{ inputs: [x], parameters: { timeout: 0 } }, /timeout must be a number of microseconds/],
    [{ inputs: [x], parameters: { timeout: "5" } }, /timeout must be a number of microseconds/],
  ];
  for (const [body, problem] of cases) {
    const failure = await rig.failure(rig.post("/v2/models/echo/infer", body));
    assert.match(failure, /^400 /);
    assert.match(failure, problem);
  }
  assert.equal(rig.controller.asked.length, 0, "none of it reached the controller");
  const mixed = {
    inputs: [
      { name: "ids", shape: [2, 2], datatype: "INT64", data: [1, 2, 3, 4] },
      { name: "mask", shape: [1, 3], datatype: "BOOL", data: [true, true, true] },
    ],
  };
  assert.equal(
    await rig.failure(rig.post("/v2/models/pair/infer", mixed)),
    '400 input "mask" has a batch of 1, and input "ids" one of 2',
  );
  assert.equal((await rig.post("/v2/models/echo/infer", one([1, 2]))).status, 200);
});

Deno.test("the deadline: from the body, from the header, whichever is sooner", async () => {
  const rig = await rigOf();
  const deadlineOf = async (parameters: unknown, headers: Record<string, string>) => {
    const response = await rig.post(
      "/v2/models/echo/infer",
      { ...one([1, 2]), parameters },
      headers,
    );
    assert.equal(response.status, 200);
    return (rig.controller.asked.at(-1)!.header as { deadline_ns: number }).deadline_ns;
  };
  assert.equal(await deadlineOf({}, {}), 0, "the controller's default");
  assert.equal(await deadlineOf({ timeout: 20_000 }, {}), 20 * MS);
  assert.equal(await deadlineOf({}, { "x-slo-ms": "12.5" }), 12.5 * MS);
  assert.equal(await deadlineOf({ timeout: 20_000 }, { "x-slo-ms": "30" }), 20 * MS);
  assert.equal(await deadlineOf({ timeout: 40_000 }, { "x-slo-ms": "30" }), 30 * MS);
  for (const text of ["0", "-1", "x", "1e3", ""]) {
    const failed = rig.post("/v2/models/echo/infer", one([1, 2]), { "x-slo-ms": text });
    assert.match(await rig.failure(failed), /^400 x-slo-ms is .*, expected milliseconds/);
  }
});

Deno.test("what the controller refuses is told by HTTP's statuses", async () => {
  const rig = await rigOf();
  const cases: [number, number][] = [
    [1, 500],
    [4, 429],
    [5, 503],
    [6, 400],
    [7, 429],
    [8, 429],
    [9, 429],
    [10, 503],
    [77, 500],
  ];
  for (const [status, expected] of cases) {
    rig.controller.infer = () => [status, "so it is"];
    const response = await rig.post("/v2/models/echo/infer", one([1, 2]));
    assert.equal(response.status, expected, String(status));
    assert.match((await response.json()).error, /so it is$/);
    const retry = response.headers.get("retry-after");
    assert.equal(retry, expected === 429 || expected === 503 ? "1" : null, String(status));
  }
  // The same refusal, when the deadline is over: 2 ms pass until it is known.
  rig.controller.infer = () => [7, "passed over"];
  for (const timeout of [1000, 100_000]) {
    const answer = rig.post("/v2/models/echo/infer", { ...one([1, 2]), parameters: { timeout } });
    const expected = timeout === 1000
      ? "504 the deadline has passed: passed over"
      : "429 it could not be in time: passed over";
    assert.equal(await rig.failure(answer), expected);
  }
  rig.controller.defaultSloNs = MS / 2;
  rig.controller.changed();
  await rig.pass(SECOND);
  const late = rig.post("/v2/models/echo/infer", one([1, 2]));
  assert.match(await rig.failure(late), /^504 /, "also of the controller's own deadline");
});

Deno.test("a copy that was unloaded meanwhile is unknown", async () => {
  const rig = await rigOf();
  rig.controller.infer = () => {
    rig.controller.models = [];
    rig.controller.changed();
    return [6, "unknown model 7"];
  };
  const failed = rig.post("/v2/models/echo/infer", one([1, 2]));
  assert.equal(await rig.failure(failed), '404 version 7 of model "echo" was unloaded');
});
