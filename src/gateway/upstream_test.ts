/** The gateway without its controller, and with it again. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { Client } from "../client/client.ts";
import { type BreakableLink, connectInMemory } from "../wire/memory_link.ts";
import { describedModel, GatewayRig, ScriptedController } from "./testing.ts";
import { Upstream } from "./upstream.ts";

const X = { name: "x", datatype: "FP32", shape: [-1, 2] };
const Y = { name: "y", datatype: "FP32", shape: [-1, 2] };
const ONE = { inputs: [{ name: "x", shape: [1, 2], datatype: "FP32", data: [1, 2] }] };

Deno.test("a controller that is away: the gateway lives, is not ready, and says why", async () => {
  const rig = new GatewayRig();
  rig.reachable = false;
  rig.controller.models = [describedModel(0, "m", [X], [Y])];
  await rig.start();
  assert.match(rig.lines[0]!, /cannot connect to controller:12346; it is tried again/);
  assert.equal((await rig.ask("/v2/health/live")).status, 200);
  const ready = await rig.ask("/v2/health/ready");
  assert.equal(ready.status, 503);
  assert.deepEqual(await ready.json(), { ready: false, controller: "away" });
  assert.equal((await rig.ask("/v2")).status, 200);
  for (
    const answer of [
      () => rig.ask("/v2/models/m"),
      () => rig.ask("/v2/models/stats"),
      () => rig.post("/v2/models/m/infer", ONE),
      () => rig.post("/v2/repository/index", {}),
      () => rig.post("/v2/repository/models/m/load", {}),
      () => rig.post("/v2/repository/models/m/unload", {}),
    ]
  ) {
    const response = await answer();
    assert.equal(response.status, 503);
    assert.equal(response.headers.get("retry-after"), "1");
    assert.match((await response.json()).error, /^the controller is away: cannot connect/);
  }
  rig.reachable = true;
  await rig.pass(3 * SECOND);
  assert.equal((await rig.post("/v2/models/m/infer", ONE)).status, 200);
});

Deno.test("a connection that is lost fails what waits, and is made again", async () => {
  const rig = new GatewayRig();
  rig.controller.models = [describedModel(0, "m", [X], [Y])];
  await rig.start();
  rig.controller.infer = () => null;
  const waiting = rig.gateway.fetch(
    new Request("http://gateway/v2/models/m/infer", {
      method: "POST",
      body: JSON.stringify(ONE),
      headers: { "content-type": "application/json" },
    }),
  );
  await rig.pass(10 * MS);
  rig.reachable = false;
  rig.link.cut();
  assert.match(await rig.failure(rig.until(waiting)), /^503 the connection to controller was lost/);
  assert.match(
    await rig.failure(rig.post("/v2/models/m/infer", ONE)),
    /^503 the controller is away/,
  );
  await rig.pass(10 * SECOND);

  // Another controller, with other models under the same revision.
  rig.reachable = true;
  rig.controller.infer = (input) => input;
  rig.controller.models = [describedModel(5, "other", [X], [Y])];
  await rig.pass(3 * SECOND);
  assert.equal((await rig.ask("/v2/health/ready")).status, 200);
  assert.match(await rig.failure(rig.ask("/v2/models/m")), /^404 /);
  assert.equal((await rig.post("/v2/models/other/infer", ONE)).status, 200);
  assert.equal(rig.lines.length, 3);
  assert.match(rig.lines[1]!, /^The controller is gone: /);
  assert.equal(rig.lines[2], "Connected to the controller controller");
});

Deno.test("models that come are known at once to who asks for them, and in a second in any case", async () => {
  const rig = await new GatewayRig().start();
  rig.controller.models = [describedModel(0, "m", [X], [Y])];
  rig.controller.changed();
  assert.equal((await rig.post("/v2/models/m/infer", ONE)).status, 200);
  rig.controller.models.push(describedModel(1, "n", [X], [Y]));
  rig.controller.changed();
  await rig.pass(SECOND);
  assert.equal(rig.gateway.upstream.models.get("n")?.copies, 1);
});

Deno.test("while the controller initializes, models that it may yet have are not unknown", async () => {
  const rig = new GatewayRig();
  rig.controller.state = "initializing";
  await rig.start();
  const failure = await rig.failure(rig.post("/v2/models/m/infer", ONE));
  assert.equal(failure, "503 the controller is initializing");
  assert.equal((await rig.ask("/v2/health/ready")).status, 503);
});

Deno.test("a gateway that drains finishes what it has, and takes nothing more", async () => {
  const rig = new GatewayRig();
  rig.controller.models = [describedModel(0, "m", [X], [Y])];
  await rig.start();
  const running = rig.gateway.fetch(
    new Request("http://gateway/v2/models/m/infer", {
      method: "POST",
      body: JSON.stringify(ONE),
      headers: { "content-type": "application/json" },
    }),
  );
  assert.equal(rig.gateway.pending, 1);
  rig.gateway.drain();
  assert.equal((await rig.until(running)).status, 200);
  assert.equal(rig.gateway.pending, 0);
  const late = await rig.post("/v2/models/m/infer", ONE);
  assert.equal(late.status, 503);
  assert.equal(late.headers.get("connection"), "close");
  assert.equal(late.headers.get("retry-after"), "1");
  assert.equal((await rig.ask("/v2/health/ready")).status, 503);
  assert.equal((await rig.ask("/v2/health/live")).status, 200);
  rig.gateway.close();
});

/** A connection that has been made, though nobody has been told of it yet. */
function connection(clock: VirtualClock, onLost: (reason: string) => void) {
  let client!: Client;
  let closed: string | null = null;
  const [, link]: [unknown, BreakableLink] = connectInMemory(
    {
      name: "controller",
      clock,
      accept: (link) => {
        const handler = new ScriptedController(clock).accept(link);
        return {
          onMessage: (message) => handler.onMessage(message),
          onClose: (reason) => closed = reason,
        };
      },
    },
    { name: "client", clock, accept: (link) => client = new Client(link, clock, { onLost }) },
  );
  return { client, link, closed: () => closed };
}

Deno.test("a connection that is lost before it is known to be made is made again", async () => {
  const clock = new VirtualClock();
  let tries = 0;
  const upstream = new Upstream(clock, () => {}, (onLost) => {
    const { client, link } = connection(clock, onLost);
    if (tries++ === 0) {
      link.cut();
      clock.advance(10 * MS);
    }
    return Promise.resolve(client);
  });
  void upstream.start();
  for (let i = 0; i < 50; i++) {
    clock.advance(20 * MS);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  assert.equal(tries, 2);
  assert.equal(upstream.state, "serving");
  upstream.close();
});

Deno.test("a connection that is made when nobody wants it any more is closed", async () => {
  const clock = new VirtualClock();
  const made = Promise.withResolvers<Client>();
  const upstream = new Upstream(clock, () => {}, () => made.promise);
  const started = upstream.start();
  upstream.close();
  const { client, closed } = connection(clock, () => {});
  made.resolve(client);
  await started;
  clock.advance(100 * MS);
  assert.notEqual(closed(), null);
  assert.equal(clock.pending, 0);
});
