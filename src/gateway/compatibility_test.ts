/** What clients that people already own expect of a server, beyond the protocol's text. */
import assert from "node:assert/strict";
import { MS } from "../core/clock.ts";
import { describedModel, GatewayRig } from "./testing.ts";

async function rigWithEcho(): Promise<GatewayRig> {
  const rig = new GatewayRig();
  const x = { name: "x", datatype: "FP32", shape: [-1, 2] };
  rig.controller.models = [describedModel(7, "echo", [x], [{ ...x, name: "y" }])];
  return await rig.start();
}

const REQUEST = { inputs: [{ name: "x", shape: [1, 2], datatype: "FP32", data: [1, 2] }] };

Deno.test("curl says that a body is a form unless it is told: JSON is read all the same", async () => {
  const rig = await rigWithEcho();
  const form = "application/x-www-form-urlencoded";
  const ask = (type: string, headers: Record<string, string> = {}) =>
    rig.post("/v2/models/echo/infer", REQUEST, { "content-type": type, ...headers });
  assert.equal((await ask(form)).status, 200);
  // Browsers send forms of any page without asking first, but they say of which.
  assert.equal((await ask(form, { origin: "http://elsewhere.example" })).status, 403);
  assert.equal(
    await rig.failure(ask("text/html")),
    "415 the Content-Type is text/html, expected application/json or application/octet-stream",
  );
});

Deno.test("perf_analyzer finds the version that it measures, and where the time goes", async () => {
  const rig = await rigWithEcho();
  const statistics = async () => {
    const { model_stats: [model] } = await (await rig.ask("/v2/models/echo/stats")).json();
    assert.equal(model.version, "7");
    return model.inference_stats;
  };
  assert.deepEqual((await statistics()).queue, { count: 0, ns: 0 });
  for (let i = 0; i < 3; i++) await rig.post("/v2/models/echo/infer", REQUEST);
  const { queue, success, compute_infer } = await statistics();
  assert.deepEqual(queue, { count: 3, ns: 0 }, "the version is the one whose count has grown");
  assert.equal(compute_infer.count, 3);
  assert.ok(compute_infer.ns >= 3 * MS, "the controller takes a millisecond for each");
  assert.ok(compute_infer.ns <= success.ns);
});
