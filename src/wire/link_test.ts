/** What every link promises, whatever carries it. */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { SECOND } from "../core/clock.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { Connection } from "./connection.ts";
import type { Link, LinkHandler } from "./link.ts";
import { connectInMemory } from "./memory_link.ts";
import type { Header } from "./messages.ts";
import { pipe } from "./pipe.ts";

const REQUEST: Header<"InferRequest"> = {
  user_id: 1,
  model_id: 2,
  batch_size: 1,
  deadline_ns: 0,
  slo_factor: 0,
};

type Accept = (link: Link) => LinkHandler;
/** Connects a client to a controller. */
type Connect = (clock: VirtualClock, client: Accept, controller: Accept) => void;

const kinds: Record<string, Connect> = {
  connection(clock, client, controller) {
    const [a, b] = pipe();
    const refused = (reason: string) => assert.fail(reason);
    const toController = { role: "client", peerRoles: ["controller"], address: "b" } as const;
    const toClient = { role: "controller", peerRoles: ["client"], address: "a" } as const;
    new Connection(a, clock, toController, client, refused).start();
    new Connection(b, clock, toClient, controller, refused).start();
  },
  memory(clock, client, controller) {
    connectInMemory({ name: "a", clock, accept: client }, { name: "b", clock, accept: controller });
  },
  "slow memory"(clock, client, controller) {
    connectInMemory(
      { name: "a", clock, accept: client },
      { name: "b", clock, accept: controller },
      { latencyNs: 1_000_000, bytesPerSecond: 1e9 },
    );
  },
};

async function pair(connect: Connect) {
  const clock = new VirtualClock(SECOND);
  const events: string[] = [];
  const links: Record<string, Link> = {};
  const onMessage: Record<string, () => void> = {};
  const accept = (name: string): Accept => (link) => {
    links[name] = link;
    return {
      onMessage(message) {
        events.push(`${name} got ${message.id} of ${message.payload.length}`);
        onMessage[name]?.();
      },
      onClose: (reason) => events.push(`${name} closed: ${reason}`),
    };
  };
  connect(clock, accept("client"), accept("controller"));
  /** Lets a tenth of a second pass, in small steps between which promises settle. */
  const pass = async () => {
    for (let i = 0; i < 100; i++) {
      await new Promise((resolve) => void setImmediate(() => resolve(undefined)));
      clock.advance(1_000_000);
    }
  };
  await pass();
  const { client, controller } = links;
  return { clock, events, client: client!, controller: controller!, onMessage, pass };
}

for (const [name, connect] of Object.entries(kinds)) {
  Deno.test(`${name}: messages arrive in order, never within send`, async () => {
    const { events, client, controller, pass } = await pair(connect);
    client.send("InferRequest", 1, REQUEST, [new Uint8Array(70_000), new Uint8Array(3)]);
    client.send("InferRequest", 2, REQUEST);
    client.send("InferRequest", 3, REQUEST, [new Uint8Array(1)]);
    assert.equal(events.length, 0);
    await pass();
    controller.send("EvictResponse", 4, {});
    await pass();
    assert.deepEqual(events, [
      "controller got 1 of 70003",
      "controller got 2 of 0",
      "controller got 3 of 1",
      "client got 4 of 0",
    ]);
  });

  Deno.test(`${name}: the receiver may answer and close from within`, async () => {
    const { events, client, controller, onMessage, pass } = await pair(connect);
    onMessage.controller = () => {
      controller.send("EvictResponse", 9, {});
      controller.close("seen enough");
      controller.send("EvictResponse", 10, {});
    };
    client.send("EvictRequest", 1, { user_id: 0, model_id: 0 });
    client.send("EvictRequest", 2, { user_id: 0, model_id: 0 });
    await pass();
    assert.deepEqual(events.toSorted(), [
      "client closed: the peer closed: seen enough",
      "client got 9 of 0",
      "controller closed: seen enough",
      "controller got 1 of 0",
    ]);
    assert.ok(events.indexOf("client got 9 of 0") < events.findIndex((e) => /^client cl/.test(e)));
  });

  Deno.test(`${name}: onSent is called once and in order, also after close, before onClose`, async () => {
    const { events, client, pass } = await pair(connect);
    for (const id of [1, 2, 3]) {
      const payload = [new Uint8Array(100_000)];
      client.send("InferRequest", id, REQUEST, payload, () => events.push(`sent ${id}`));
    }
    client.close("done");
    assert.equal(events.length, 0);
    await pass();
    assert.deepEqual(events.filter((event) => !event.startsWith("controller")), [
      "sent 1",
      "sent 2",
      "sent 3",
      "client closed: done",
    ]);
    assert.deepEqual(events.filter((event) => event.startsWith("controller")), [
      "controller got 1 of 100000",
      "controller got 2 of 100000",
      "controller got 3 of 100000",
      "controller closed: the peer closed: done",
    ]);
    assert.equal(client.queuedBytes, 0);
  });

  Deno.test(`${name}: each side is told once that it closed, and hears nothing later`, async () => {
    const { events, client, controller, pass } = await pair(connect);
    client.send("InferRequest", 1, REQUEST);
    controller.send("EvictResponse", 2, {});
    client.close("first");
    client.close("second");
    controller.close("third");
    await pass();
    client.send("InferRequest", 5, REQUEST, [], () => events.push("sent"));
    controller.close("fourth");
    client.close("fifth");
    await pass();
    assert.deepEqual(events.toSorted(), ["client closed: first", "controller closed: third"]);
  });

  Deno.test(`${name}: traffic is counted on both sides`, async () => {
    const { client, controller, pass } = await pair(connect);
    const before = { ...client.traffic };
    client.send("InferRequest", 1, REQUEST, [new Uint8Array(5000)]);
    client.send("InferRequest", 2, REQUEST);
    await pass();
    assert.equal(client.traffic.sentMessages - before.sentMessages, 2);
    const bytes = client.traffic.sentBytes - before.sentBytes;
    assert.ok(bytes > 5000 && bytes < 6000);
    assert.equal(controller.traffic.receivedBytes, client.traffic.sentBytes);
    assert.equal(controller.traffic.receivedMessages, client.traffic.sentMessages);
  });
}
