/** Loading, unloading, configuration and statistics of models; the OpenAPI document. */
import assert from "node:assert/strict";
import { SECOND } from "../core/clock.ts";
import { describedModel, GatewayRig } from "./testing.ts";

const X = { name: "x", datatype: "FP32", shape: [-1, 2] };
const Y = { name: "y", datatype: "FP32", shape: [-1, 2] };

function rigOf(): Promise<GatewayRig> {
  const rig = new GatewayRig();
  let nextId = 0;
  rig.controller.load = (path, copies) => {
    if (path === "absent") return [1, "worker 0: no model at absent"];
    nextId += copies;
    return describedModel(nextId - copies, path, [X], [Y], copies);
  };
  return rig.start();
}

const load = "/v2/repository/models/m/load";

Deno.test("models are loaded once, to as many copies as are asked for", async () => {
  const rig = await rigOf();
  assert.deepEqual(await (await rig.ask(load, { method: "POST" })).json(), {
    name: "m",
    copies: 1,
  });
  assert.equal((await rig.post(load, {})).status, 200, "it is there already");
  const more = await rig.post(load, { parameters: { copies: 3 } });
  assert.deepEqual(await more.json(), { name: "m", copies: 3 });
  const loads = rig.controller.asked.filter(({ kind }) => kind === "LoadModelRequest");
  assert.deepEqual(
    loads.map(({ header }) => (header as { no_of_copies: number }).no_of_copies),
    [1, 2],
  );
  const index = await (await rig.ask("/v2/repository/index", { method: "POST" })).json();
  assert.deepEqual(
    index.map(({ name, version, state }: Record<string, string>) => `${name} ${version} ${state}`),
    ["m 0 READY", "m 1 READY", "m 2 READY"],
  );

  const unload = await rig.post("/v2/repository/models/m/unload", {});
  assert.deepEqual(await unload.json(), { name: "m", copies: 0 });
  assert.match(await rig.failure(rig.ask("/v2/models/m")), /^404 /);
  assert.match(await rig.failure(rig.post("/v2/repository/models/m/unload", {})), /^404 /);
});

Deno.test("copies that are being unloaded do not count: who asks for one gets one that stays", async () => {
  const rig = await rigOf();
  await rig.post(load, { parameters: { copies: 2 } });
  rig.controller.models = rig.controller.models.map((model) => ({
    ...model,
    model_status: "unloading",
  }));
  rig.controller.changed();
  assert.deepEqual(await (await rig.post(load, {})).json(), { name: "m", copies: 1 });
  const [, second] = rig.controller.asked.filter(({ kind }) => kind === "LoadModelRequest");
  assert.equal((second!.header as { no_of_copies: number }).no_of_copies, 1);
});

Deno.test("the index tells states, and may be of what is ready only", async () => {
  const rig = await rigOf();
  const states = ["ready", "unavailable", "unloading"];
  rig.controller.models = states.map((status, id) => ({
    ...describedModel(id, `m${id}`, [X], [Y]),
    model_status: status,
  }));
  rig.controller.changed();
  const index = async (body: unknown) => (await rig.post("/v2/repository/index", body)).json();
  assert.deepEqual(
    (await index({})).map(({ state }: { state: string }) => state),
    ["READY", "UNAVAILABLE", "UNLOADING"],
  );
  assert.deepEqual(await index({ ready: true }), [
    { name: "m0", version: "0", state: "READY", reason: "" },
  ]);
});

Deno.test("what cannot be loaded says why", async () => {
  const rig = await rigOf();
  const ask = (name: string, body: unknown = {}) =>
    rig.failure(rig.post(`/v2/repository/models/${name}/load`, body));
  assert.equal(await ask("absent"), "400 worker 0: no model at absent");
  for (const name of ["%2Fetc%2Fpasswd", "..%2Fx", "a%2F..%2F..%2Fb", "C:%5Cx", "a%00b"]) {
    assert.match(await ask(name), /^400 .* is not a name of a model/, name);
  }
  assert.match(await ask("m", { parameters: { copies: 0 } }), /^400 the parameter copies must be/);
  assert.match(await ask("m", { parameters: { config: "{}" } }), /^400 the parameter "config"/);
  assert.match(await ask("m", "{"), /^400 the request is not JSON/);
  assert.match(await ask("m", "[]"), /^400 the request must be a JSON object/);
  assert.equal(rig.controller.asked.length, 1, "only the first reached the controller");
});

Deno.test("a load waits until the controller serves, but not for ever", async () => {
  const rig = await rigOf();
  rig.controller.state = "initializing";
  rig.controller.changed();
  let answered = false;
  const loading = rig.gateway.fetch(new Request(`http://gateway${load}`, { method: "POST" }))
    .then((response) => {
      answered = true;
      return response;
    });
  await rig.pass(SECOND);
  assert.ok(!answered);
  rig.controller.state = "serving";
  rig.controller.changed();
  await rig.pass(SECOND);
  assert.ok(answered);
  assert.equal((await loading).status, 200);
});

Deno.test("models of the same name: one if they take and give the same, else by their paths", async () => {
  const rig = await rigOf();
  const other = { ...X, shape: [-1, 3] };
  rig.controller.models = [
    describedModel(0, "/zoo/m/model", [X], [Y]),
    describedModel(1, "m", [X], [Y], 2),
    describedModel(3, "/old/m/model.onnx", [other], [Y]),
  ];
  rig.controller.changed();
  await rig.pass(SECOND);
  const versions = async (name: string) =>
    (await (await rig.ask(`/v2/models/${name}`)).json()).versions;
  assert.deepEqual(await versions("m"), ["0", "1", "2"]);
  assert.deepEqual(await versions("%2Fold%2Fm%2Fmodel.onnx"), ["3"]);
  rig.controller.models[0] = { ...rig.controller.models[0]!, model_status: "unavailable" };
  rig.controller.changed();
  await rig.pass(SECOND);
  const inputs = [{ name: "x", shape: [1, 2], datatype: "FP32", data: [1, 2] }];
  const answer = await (await rig.post("/v2/models/m/infer", { inputs })).json();
  assert.equal(answer.model_version, "1", "the first that is ready");
});

Deno.test("Triton's configuration of a model", async () => {
  const rig = await rigOf();
  const whole = { name: "w", datatype: "INT64", shape: [1, 4] };
  rig.controller.models = [
    describedModel(0, "batched", [X], [Y]),
    describedModel(1, "whole", [X, whole], [Y]),
  ];
  rig.controller.changed();
  await rig.pass(SECOND);
  const config = async (name: string) => await (await rig.ask(`/v2/models/${name}/config`)).json();
  assert.deepEqual(await config("batched"), {
    name: "batched",
    platform: "onnxruntime_onnx",
    backend: "onnxruntime",
    version_policy: { all: {} },
    max_batch_size: 256,
    input: [{ name: "x", data_type: "TYPE_FP32", dims: [2], format: "FORMAT_NONE" }],
    output: [{ name: "y", data_type: "TYPE_FP32", dims: [2] }],
    dynamic_batching: { preferred_batch_size: [1, 2, 4] },
  });
  const { max_batch_size, input } = await config("whole");
  assert.equal(max_batch_size, 0);
  assert.deepEqual(input.map(({ dims }: { dims: number[] }) => dims), [[-1, 2], [1, 4]]);
});

Deno.test("statistics count what was served, by version", async () => {
  const rig = await rigOf();
  await rig.post(load, { parameters: { copies: 2 } });
  const infer = (batch: number, path = "m") =>
    rig.post(`/v2/models/${path}/infer`, {
      inputs: [{
        name: "x",
        shape: [batch, 2],
        datatype: "FP32",
        data: new Array(2 * batch).fill(0),
      }],
    });
  await infer(1);
  await infer(3);
  await infer(1, "m/versions/1");
  rig.controller.infer = () => [1, "broken"];
  await infer(1);
  const stats = async (path: string) => (await (await rig.ask(path)).json()).model_stats;
  const all = await stats("/v2/models/stats");
  assert.deepEqual(await stats("/v2/models/m/stats"), all);
  const [first, second] = all;
  assert.equal(first.name, "m");
  assert.equal(first.version, "0");
  assert.equal(first.inference_count, 4);
  assert.equal(first.inference_stats.success.count, 2);
  assert.equal(first.inference_stats.fail.count, 1);
  // Each is answered after 1 ms, and the test looks every half.
  assert.ok(first.inference_stats.success.ns >= 2e6 && first.inference_stats.success.ns <= 6e6);
  assert.ok(first.last_inference > 1.7e12);
  assert.equal(second.inference_count, 1);
  assert.deepEqual(await stats("/v2/models/m/versions/1/stats"), [second]);
  rig.controller.models = [describedModel(0, "n", [X], [Y])];
  rig.controller.changed();
  await rig.pass(SECOND);
  const [other] = await stats("/v2/models/n/stats");
  assert.equal(other.inference_count, 0, "its version was another model's");
  assert.deepEqual(
    rig.records.map(({ version, httpStatus, batchSize }) => [version, httpStatus, batchSize]),
    [["0", 200, 1], ["0", 200, 3], ["1", 200, 1], ["0", 500, 1]],
  );
});

Deno.test("the OpenAPI document has all paths, and no others", async () => {
  const rig = await rigOf();
  const document = await (await rig.ask("/openapi.json")).json();
  assert.equal(document.openapi, "3.1.0");
  assert.deepEqual(document.security, [], "no token is asked for");
  for (const [path, item] of Object.entries(document.paths as Record<string, object>)) {
    const methods = Object.keys(item).filter((key) => key !== "parameters");
    assert.equal(methods.length, 1);
    const asked = path.replace("{name}", "m").replace("{version}", "0");
    for (const method of ["get", "post"]) {
      const { status } = await rig.ask(asked, { method: method.toUpperCase() });
      assert.equal(status === 405, method !== methods[0], `${method} ${path}`);
    }
  }
  // The dashboard is a page for people.
  const served = rig.gateway.app.routes.map(({ path }) => path)
    .filter((path) => path !== "/*" && !/^\/(dashboard|$)/.test(path));
  assert.deepEqual(
    [...new Set(served)].map((path) => path.replaceAll(/:(\w+)/g, "{$1}")).toSorted(),
    Object.keys(document.paths).toSorted(),
  );
  const refs = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)];
  assert.ok(refs.length > 5);
  for (const [, name] of refs) assert.ok(name! in document.components.schemas, name);
});
