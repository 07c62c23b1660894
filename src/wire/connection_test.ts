import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import fc from "fast-check";
import { MS, SECOND } from "../core/clock.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { Connection } from "./connection.ts";
import type { ConnectionOptions } from "./connection_options.ts";
import type { Role } from "./roles.ts";
import { encodeFrame, type Frame, FrameParser } from "./frame.ts";
import type { Link, LinkHandler } from "./link.ts";
import { type AnyMessage, type Header, type Kind, PROTOCOL_VERSION } from "./messages.ts";
import { SendBudget } from "./send_budget.ts";
import { pipe, type PipeEnd, type PipeOptions } from "./pipe.ts";

const REQUEST: Header<"InferRequest"> = {
  user_id: 1,
  model_id: 2,
  batch_size: 1,
  deadline_ns: 0,
  slo_factor: 0,
};

/** What one side of a link saw, in order. */
class Side {
  readonly events: string[] = [];
  readonly messages: AnyMessage[] = [];
  readonly faults: unknown[] = [];
  link: Link | undefined;
  onMessage: (message: AnyMessage) => void = () => {};

  readonly accept = (link: Link): LinkHandler => {
    this.link = link;
    this.events.push("accepted");
    return {
      onMessage: (message) => {
        this.events.push(`${message.kind} ${message.id}`);
        this.messages.push(message);
        this.onMessage(message);
      },
      onClose: (reason) => this.events.push(`closed: ${reason}`),
    };
  };

  readonly refused = (reason: string): void => {
    this.events.push(`refused: ${reason}`);
  };

  connection(
    stream: PipeEnd,
    clock: VirtualClock,
    role: Role,
    peerRole: Role,
    options: Partial<ConnectionOptions> = {},
  ): Connection {
    return new Connection(
      stream,
      clock,
      {
        role,
        peerRoles: [peerRole],
        address: `the ${peerRole}`,
        onFault: (error) => this.faults.push(error),
        ...options,
      },
      this.accept,
      this.refused,
    );
  }
}

/** A client and a controller, connected by a pipe and greeted. */
async function pair(
  options: { client?: Partial<ConnectionOptions>; controller?: Partial<ConnectionOptions> } = {},
  pipeOptions?: PipeOptions,
  startNs = 0,
) {
  const clock = new VirtualClock(startNs);
  const [clientStream, controllerStream] = pipe(pipeOptions);
  const client = new Side(), controller = new Side();
  const clientEnd = client.connection(
    clientStream,
    clock,
    "client",
    "controller",
    options.client,
  );
  const controllerEnd = controller.connection(
    controllerStream,
    clock,
    "controller",
    "client",
    options.controller,
  );
  clientEnd.start();
  controllerEnd.start();
  await passUntil(clock, 0);
  assert.equal(client.link, clientEnd);
  assert.equal(controller.link, controllerEnd);
  return { clock, client, controller, clientEnd, controllerEnd, clientStream, controllerStream };
}

/** A controller whose peer is the test itself, writing and reading bytes. */
async function bare(options: Partial<ConnectionOptions> = {}, pipeOptions?: PipeOptions) {
  const clock = new VirtualClock();
  const [ours, stream] = pipe(pipeOptions);
  const side = new Side();
  const connection = side.connection(stream, clock, "controller", "client", options);
  connection.start();
  await passUntil(clock, 0);
  const parser = new FrameParser();
  return {
    clock,
    side,
    ours,
    stream,
    connection,
    write: async (bytes: Uint8Array) => {
      for (let offset = 0; offset < bytes.length;) {
        offset += await ours.write(bytes.subarray(offset));
      }
      await pass(clock, 0);
    },
    /** All messages that it has sent so far. */
    read: async (): Promise<Frame[]> => {
      const frames: Frame[] = [];
      const bytes = new Uint8Array(10_000);
      while (true) {
        const n = await Promise.race([ours.read(bytes), turn()]);
        if (n === null || n === undefined) return frames;
        frames.push(...parser.feed(bytes.subarray(0, n)));
      }
    },
  };
}

/** Later than any promise that can settle now. */
function turn(): Promise<undefined> {
  return new Promise((resolve) => void setImmediate(() => resolve(undefined)));
}

/** Lets time pass, in steps small enough that promises settle between any two timers. */
async function passUntil(clock: VirtualClock, untilNs: number): Promise<void> {
  await turn();
  do {
    clock.run(Math.min(untilNs, clock.now() + 50 * MS));
    await turn();
  } while (clock.now() < untilNs);
}

function pass(clock: VirtualClock, durationNs: number): Promise<void> {
  return passUntil(clock, clock.now() + durationNs);
}

const frame = <K extends Kind>(kind: K, id: number, header: Header<K>, payloadBytes = 0) =>
  encodeFrame(kind, id, header, payloadBytes, 0, NaN);
const hello = frame("Hello", 0, { version: PROTOCOL_VERSION, role: "client", token: "" });

Deno.test("both sides greet, and messages arrive in order with their payloads", async () => {
  const { clock, client, controller, clientEnd, controllerEnd } = await pair();
  const payload = [Uint8Array.of(1, 2), new Uint8Array(0), new Uint8Array(100_000).fill(7)];
  clientEnd.send("InferRequest", 1, REQUEST, payload);
  clientEnd.send("InferRequest", 2, REQUEST);
  controllerEnd.send("InferResponse", 1, { output_size: 3 }, [Uint8Array.of(9, 8, 7)]);
  await passUntil(clock, 0);
  assert.deepEqual(controller.events, ["accepted", "InferRequest 1", "InferRequest 2"]);
  assert.deepEqual(client.events, ["accepted", "InferResponse 1"]);
  assert.equal(controller.messages[0]!.payload.length, 100_002);
  assert.deepEqual(controller.messages[0]!.payload.subarray(0, 4), Uint8Array.of(1, 2, 7, 7));
  assert.deepEqual(client.messages[0]!.payload, Uint8Array.of(9, 8, 7));
  assert.equal(clientEnd.queuedBytes, 0);
  // Each side has sent its Hello as well.
  assert.equal(clientEnd.traffic.sentMessages, 3);
  assert.equal(controllerEnd.traffic.receivedMessages, 3);
  assert.equal(clientEnd.traffic.sentBytes, controllerEnd.traffic.receivedBytes);
});

Deno.test("small messages of one turn leave in one write; a large payload is not gathered", async () => {
  const { clock, clientEnd, clientStream } = await pair();
  clientStream.writes.length = 0;
  for (let id = 0; id < 50; id++) clientEnd.send("InferRequest", id, REQUEST, [new Uint8Array(9)]);
  await passUntil(clock, 0);
  assert.equal(clientStream.writes.length, 1);
  clientStream.writes.length = 0;
  clientEnd.send("InferRequest", 60, REQUEST, [new Uint8Array(602_112)]);
  clientEnd.send("InferRequest", 61, REQUEST);
  await passUntil(clock, 0);
  assert.equal(clientStream.writes.length, 3);
  assert.equal(clientStream.writes[1], 602_112);
});

Deno.test("what a handler sends leaves before more is read", async () => {
  const { side, ours, clock, connection, stream } = await bare();
  await ours.write(hello);
  await passUntil(clock, 0);
  side.onMessage = ({ id }) => connection.send("EvictResponse", id, {});
  const [writes, reads] = [stream.writes.length, stream.targets.length];
  await ours.write(frame("EvictRequest", 5, { user_id: 1, model_id: 1 }));
  await Promise.resolve();
  await Promise.resolve();
  assert.deepEqual(side.events.slice(1), ["EvictRequest 5"]);
  assert.equal(stream.writes.length, writes + 1);
  assert.ok(stream.targets.length <= reads + 1);
});

Deno.test("a large payload is not copied between the read and the handler", async () => {
  const { clock, clientEnd, controller, controllerStream } = await pair();
  clientEnd.send("InferRequest", 1, REQUEST, [new Uint8Array(602_112).fill(3)]);
  await passUntil(clock, 0);
  const { payload } = controller.messages[0]!;
  assert.ok(controllerStream.targets.some((target) => target.buffer === payload.buffer));
  assert.ok(payload.every((byte) => byte === 3));
});

Deno.test("any messages survive any pipe", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.nat(20), fc.nat(20_000), fc.nat(200_000)), { maxLength: 12 }),
      fc.integer({ min: 1, max: 70_000 }),
      fc.integer({ min: 1000, max: 100_000 }),
      async (sizes, capacity, readBytes) => {
        const { clock, clientEnd, controller } = await pair({}, { capacity, readBytes });
        const told: number[] = [];
        sizes.forEach((size, id) => {
          const payload = new Uint8Array(size).fill(id + 1);
          clientEnd.send("InferRequest", id, REQUEST, [payload], () => told.push(id));
        });
        await passUntil(clock, 0);
        assert.deepEqual(told, sizes.map((_, id) => id));
        assert.deepEqual(
          controller.messages.map(({ id, payload }) => [id, payload.length, payload.at(-1)]),
          sizes.map((size, id) => [id, size, size === 0 ? undefined : id + 1]),
        );
      },
    ),
    { numRuns: 40 },
  );
});

Deno.test("onSent is called once, in order, when the network has taken the message", async () => {
  const { clock, ours, write, connection } = await bare({}, { capacity: 50_000 });
  await write(hello);
  const told: number[] = [];
  connection.send("EvictResponse", 1, {}, [], () => told.push(1));
  await passUntil(clock, 0);
  assert.deepEqual(told, [1]);
  connection.send("InferResponse", 2, { output_size: 1 }, [new Uint8Array(60_000)], () => {
    told.push(2);
    // From within: queued behind what is queued already.
    connection.send("EvictResponse", 4, {}, [], () => told.push(4));
  });
  connection.send("EvictResponse", 3, {}, [], () => told.push(3));
  await passUntil(clock, 0);
  assert.deepEqual(told, [1]);
  assert.ok(connection.queuedBytes > 10_000);
  await ours.read(new Uint8Array(40_000));
  await passUntil(clock, 0);
  assert.deepEqual(told, [1, 2, 3, 4]);
  assert.equal(connection.queuedBytes, 0);
});

Deno.test("what is sent while a write is under way follows it", async () => {
  const { clock, write, read, connection } = await bare({}, { capacity: 1000 });
  await write(hello);
  for (let id = 1; id <= 3; id++) {
    connection.send("InferResponse", id, { output_size: 5000 }, [new Uint8Array(5000).fill(id)]);
    // The first is stuck: the peer has not read anything yet.
    await pass(clock, 0);
  }
  const frames: Frame[] = [];
  while (connection.queuedBytes > 0) {
    frames.push(...await read());
    await pass(clock, 0);
  }
  frames.push(...await read());
  assert.deepEqual(frames.map(({ message: { id, payload } }) => [id, payload.length, payload[0]]), [
    [0, 0, undefined],
    [1, 5000, 1],
    [2, 5000, 2],
    [3, 5000, 3],
  ]);
});

Deno.test("thousands of small messages of one turn arrive in order, in few writes", async () => {
  const { clock, clientEnd, clientStream, controller } = await pair();
  clientStream.writes.length = 0;
  for (let round = 0; round < 2; round++) {
    for (let id = 0; id < 5000; id++) {
      clientEnd.send("InferRequest", id, REQUEST, [new Uint8Array(id % 50)]);
    }
    await pass(clock, 0);
  }
  assert.ok(clientStream.writes.length < 40);
  const expected = Array.from({ length: 10_000 }, (_, i) => [i % 5000, i % 5000 % 50]);
  assert.deepEqual(controller.messages.map(({ id, payload }) => [id, payload.length]), expected);
});

Deno.test("a large header arrives, and small messages after it", async () => {
  const { clock, client, controllerEnd } = await pair();
  const models = Array.from({ length: 20_000 }, (_, i) => ({
    model_id: i,
    model_path: `zoo/model_${i}`,
    input_size: 602_112,
    output_size: 4000,
  }));
  controllerEnd.send("EvictResponse", 1, {});
  controllerEnd.send("LsResponse", 2, { models });
  controllerEnd.send("EvictResponse", 3, {});
  await pass(clock, 0);
  controllerEnd.send("EvictResponse", 4, {});
  await pass(clock, 0);
  assert.deepEqual(client.messages.map(({ id }) => id), [1, 2, 3, 4]);
  assert.deepEqual((client.messages[1]!.header as Header<"LsResponse">).models, models);
});

Deno.test("once the link has ended, nobody is told that anything was sent or came", async () => {
  const clock = new VirtualClock();
  const side = new Side();
  // A network whose reads and writes under way end well although it was closed meanwhile.
  const reads: ((n: number) => void)[] = [];
  const writes: (() => void)[] = [];
  let target: Uint8Array = new Uint8Array(0);
  const stream = {
    read(into: Uint8Array): Promise<number> {
      target = into;
      return new Promise((resolve) => reads.push(resolve));
    },
    write: (bytes: Uint8Array): Promise<number> =>
      new Promise((resolve) => writes.push(() => resolve(bytes.length))),
    closeWrite: () => Promise.resolve(),
    close() {},
  };
  const connection = new Connection(
    stream,
    clock,
    { role: "controller", peerRoles: ["client"], address: "", maxQueuedBytes: 100_000 },
    side.accept,
    side.refused,
  );
  connection.start();
  await turn();
  writes.shift()!();
  target.set(hello);
  reads.shift()!(hello.length);
  await turn();
  const told: number[] = [];
  const overflow = [new Uint8Array(200_000)];
  connection.send("EvictResponse", 1, {}, [], () => {
    told.push(1);
    connection.send("InferResponse", 3, { output_size: 0 }, overflow);
  });
  connection.send("EvictResponse", 2, {}, [], () => told.push(2));
  await turn();
  writes.shift()!();
  await turn();
  // The first call ended the link, before the second.
  assert.deepEqual(told, [1]);
  const late = frame("EvictRequest", 9, { user_id: 1, model_id: 1 });
  target.set(late);
  reads.shift()!(late.length);
  await turn();
  assert.equal(side.events.length, 2);
  assert.match(side.events[1]!, /^closed: the peer does not read/);
  assert.equal(connection.traffic.receivedMessages, 1);
  assert.equal(connection.queuedBytes, 0);
  assert.equal(clock.pending, 0);
});

Deno.test("a write under way when the link ends tells nobody", async () => {
  const { clock, ours, write, connection, side } = await bare({}, { capacity: 1000 });
  await write(hello);
  let told = 0;
  connection.send("InferResponse", 1, { output_size: 0 }, [new Uint8Array(5000)], () => told++);
  await pass(clock, 0);
  await ours.write(frame("Goodbye", 0, { message: "enough" }));
  await ours.read(new Uint8Array(1000));
  await pass(clock, 0);
  assert.equal(side.events.at(-1), "closed: the peer closed: enough");
  assert.equal(told, 0);
  assert.equal(connection.queuedBytes, 0);
});

Deno.test("a peer in a role that we do not talk to is told so", async () => {
  const clock = new VirtualClock();
  const [a, b] = pipe();
  const worker = new Side(), controller = new Side();
  worker.connection(a, clock, "worker", "controller").start();
  controller.connection(b, clock, "controller", "client").start();
  await passUntil(clock, 2 * SECOND);
  const why = "protocol error: this is a controller, which talks to a client, not to a worker";
  assert.deepEqual(controller.events, [`refused: ${why}`]);
  // The worker had nothing against the controller.
  assert.deepEqual(worker.events, ["accepted", `closed: the peer closed: ${why}`]);
  assert.equal(clock.pending, 0);
});

Deno.test("another version of the protocol is refused with both numbers", async () => {
  const { side, write, read, ours, clock } = await bare();
  await write(frame("Hello", 0, { version: 99, role: "client", token: "" }));
  const last = (await read()).at(-1)!.message;
  assert.equal(last.kind, "Goodbye");
  assert.match(
    (last.header as Header<"Goodbye">).message,
    /^protocol error: protocol version 99 met version 2: /,
  );
  ours.close();
  await passUntil(clock, 0);
  assert.equal(side.events.length, 1);
  assert.match(side.events[0]!, /^refused: protocol error: protocol version 99/);
});

Deno.test("messages before Hello, a second Hello, and kinds of other roles are refused", async () => {
  const request = frame("InferRequest", 1, REQUEST);
  const cases: [Uint8Array[], string, boolean][] = [
    [[request], "InferRequest before Hello", false],
    [[frame("Ping", 0, {})], "Ping before Hello", false],
    [[hello, hello], "Hello from a client", true],
    [[hello, frame("ClearCache", 1, {})], "ClearCache from a client", true],
    [[hello, frame("LsResponse", 1, { models: [] })], "LsResponse from a client", true],
    [[Uint8Array.of(1, 2, 3)], "not a Clockwork frame: ", false],
  ];
  for (const [frames, reason, greeted] of cases) {
    const { side, write, ours, clock } = await bare();
    for (const bytes of frames) await write(bytes);
    ours.close();
    await passUntil(clock, 0);
    const last = side.events.at(-1)!;
    assert.equal(side.events.length, greeted ? 2 : 1);
    assert.ok(
      last.startsWith(`${greeted ? "closed" : "refused"}: protocol error: ${reason}`),
      `${reason}: ${last}`,
    );
  }
});

Deno.test("messages that come with the Hello in one read are delivered after it", async () => {
  const { side, ours, clock } = await bare();
  const request = frame("InferRequest", 1, REQUEST);
  const both = new Uint8Array(hello.length + request.length);
  both.set(hello);
  both.set(request, hello.length);
  await ours.write(both);
  await passUntil(clock, 0);
  assert.deepEqual(side.events, ["accepted", "InferRequest 1"]);
});

Deno.test("close sends what is queued, then the reason, and ends when the peer hangs up", async () => {
  const { clock, client, controller, clientEnd, controllerEnd, clientStream } = await pair();
  const told: number[] = [];
  clientEnd.send("InferRequest", 1, REQUEST, [new Uint8Array(300_000)], () => told.push(1));
  clientEnd.send("InferRequest", 2, REQUEST, [], () => told.push(2));
  clientEnd.close("done here");
  clientEnd.send("InferRequest", 3, REQUEST);
  clientEnd.close("twice");
  await passUntil(clock, 0);
  assert.deepEqual(told, [1, 2]);
  assert.deepEqual(controller.events, [
    "accepted",
    "InferRequest 1",
    "InferRequest 2",
    "closed: the peer closed: done here",
  ]);
  assert.deepEqual(client.events, ["accepted", "closed: done here"]);
  assert.ok(clientStream.closed);
  assert.equal(clock.pending, 0);
  controllerEnd.send("EvictResponse", 1, {});
  controllerEnd.close("late");
  await passUntil(clock, 10 * SECOND);
  assert.equal(controller.events.length, 4);
  assert.equal(controllerEnd.queuedBytes, 0);
});

Deno.test("both sides may close at once", async () => {
  const { clock, client, controller, clientEnd, controllerEnd } = await pair();
  clientEnd.close("a");
  controllerEnd.close("b");
  await passUntil(clock, 0);
  assert.deepEqual(client.events, ["accepted", "closed: a"]);
  assert.deepEqual(controller.events, ["accepted", "closed: b"]);
  assert.equal(clock.pending, 0);
});

Deno.test("messages that come after our close go to nobody, however many", async () => {
  const { side, write, connection, clock, ours } = await bare();
  await write(hello);
  connection.close("enough");
  for (let id = 0; id < 100; id++) await write(frame("InferRequest", id, REQUEST));
  await write(Uint8Array.of(0, 0, 0));
  assert.deepEqual(side.events, ["accepted"]);
  ours.close();
  await passUntil(clock, 0);
  assert.deepEqual(side.events, ["accepted", "closed: enough"]);
});

Deno.test("a peer that neither reads nor hangs up cannot keep a closed link open", async () => {
  const { side, write, connection, clock, stream } = await bare({}, { capacity: 1000 });
  await write(hello);
  connection.send("InferResponse", 1, { output_size: 0 }, [new Uint8Array(50_000)]);
  connection.close("enough");
  await passUntil(clock, 0.9 * SECOND);
  assert.ok(!stream.closed);
  await passUntil(clock, 2 * SECOND);
  assert.ok(stream.closed);
  assert.deepEqual(side.events, ["accepted", "closed: enough"]);
  assert.equal(clock.pending, 0);
});

Deno.test("a peer that still reads gets all that was queued before the close, in bounded time", async () => {
  const slowly = async (bytes: number) => {
    const { side, write, connection, clock, ours, stream } = await bare({}, { capacity: 1000 });
    await write(hello);
    connection.send("InferResponse", 1, { output_size: 0 }, [new Uint8Array(bytes)]);
    connection.close("enough");
    let read = 0;
    const buffer = new Uint8Array(1000);
    while (!stream.closed) {
      await pass(clock, 500 * MS);
      if (stream.closed) break;
      const n = await ours.read(buffer);
      if (n === null) ours.close();
      else read += n;
      await pass(clock, 0);
    }
    assert.deepEqual(side.events, ["accepted", "closed: enough"]);
    return { read, seconds: clock.now() / SECOND };
  };
  const all = await slowly(10_000);
  assert.ok(all.read > 10_000);
  const cut = await slowly(10_000_000);
  assert.ok(cut.read < 100_000);
  assert.ok(cut.seconds > 15 && cut.seconds < 25);
});

Deno.test("a peer that does not read is disconnected when too much waits for it", async () => {
  const { clock, ours, write, connection, side, stream } = await bare(
    { maxQueuedBytes: 100_000 },
    { capacity: 1000 },
  );
  await write(hello);
  let told = 0;
  for (let id = 0; id < 12; id++) {
    const payload = [new Uint8Array(10_000)];
    connection.send("InferResponse", id, { output_size: 0 }, payload, () => told++);
  }
  // Never from within send.
  assert.deepEqual(side.events, ["accepted"]);
  await passUntil(clock, 0);
  assert.match(
    side.events[1]!,
    /^closed: the peer does not read: 1\d{5} bytes are waiting to be sent$/,
  );
  assert.equal(side.events.length, 2);
  assert.ok(stream.closed);
  assert.equal(connection.queuedBytes, 0);
  assert.equal(told, 0);
  await ours.read(new Uint8Array(1000));
  await passUntil(clock, 5 * SECOND);
  assert.equal(told, 0);
  assert.equal(clock.pending, 0);
});

Deno.test("a silent peer is given up; one that pings is not", async () => {
  const { clock, client, controller } = await pair();
  await passUntil(clock, 100 * SECOND);
  assert.deepEqual(client.events, ["accepted"]);
  assert.deepEqual(controller.events, ["accepted"]);

  const silent = await bare({ silenceNs: 5 * SECOND, pingPeriodNs: 250 * MS });
  await silent.write(hello);
  await passUntil(silent.clock, 4.9 * SECOND);
  assert.deepEqual(silent.side.events, ["accepted"]);
  await passUntil(silent.clock, 6 * SECOND);
  assert.deepEqual(silent.side.events, ["accepted", "closed: the peer has been silent for 5 s"]);
  assert.ok(silent.stream.closed);
  assert.equal(silent.clock.pending, 0);
});

Deno.test("clients and controllers ping rarely while they have nothing to say, and often when they have", async () => {
  const { clock, client, controller } = await pair();
  const pings = async (seconds: number) => {
    const before = client.link!.traffic.sentMessages;
    await passUntil(clock, clock.now() + seconds * SECOND);
    return client.link!.traffic.sentMessages - before;
  };
  await pings(10);
  assert.equal(await pings(50), 10);
  client.link!.send("InferRequest", 1, REQUEST);
  assert.equal(await pings(4), 16);
  await pings(6);
  assert.equal(await pings(50), 10);
  assert.deepEqual(controller.events, ["accepted", "InferRequest 1"]);

  // A peer that does not answer is given up soon, but is not blamed for having had nothing to say before.
  const { clock: own, connection, side, write } = await bare();
  await write(hello);
  for (const seconds of [2, 4, 5, 14]) {
    await passUntil(own, seconds * SECOND);
    await write(frame("Ping", 0, {}));
  }
  await passUntil(own, 20 * SECOND);
  assert.deepEqual(side.events, ["accepted"]);
  connection.send("InferResponse", 1, { output_size: 0 });
  await passUntil(own, 22.9 * SECOND);
  assert.deepEqual(side.events, ["accepted"]);
  await passUntil(own, 24 * SECOND);
  assert.deepEqual(side.events, ["accepted", "closed: the peer has been silent for 3 s"]);
  assert.equal(own.pending, 0);
});

Deno.test("a peer that says nothing is given up, however much it is told", async () => {
  const { clock, connection, side, write } = await bare();
  await write(hello);
  for (let id = 0; clock.now() < 5 * SECOND; id++) {
    connection.send("EvictResponse", id, {});
    await pass(clock, 100 * MS);
  }
  assert.deepEqual(side.events, ["accepted", "closed: the peer has been silent for 3 s"]);
});

Deno.test("a peer is not given up for what it sent while we were stalled", async () => {
  const { clock, side, write, ours } = await bare({
    silenceNs: 5 * SECOND,
    pingPeriodNs: 250 * MS,
  });
  await write(hello);
  // A stall: timers that fell due are called before anything is read.
  await ours.write(frame("Ping", 0, {}));
  clock.run(clock.now() + 250 * MS);
  clock.run(clock.now() + 250 * MS);
  await pass(clock, SECOND);
  assert.deepEqual(side.events, ["accepted"]);
});

Deno.test("a peer that never says Hello is given up", async () => {
  const { clock, side, read } = await bare({ helloNs: 3 * SECOND });
  await passUntil(clock, 2.9 * SECOND);
  assert.deepEqual(side.events, []);
  await passUntil(clock, 5 * SECOND);
  assert.deepEqual(side.events, ["refused: no Hello within 3 s"]);
  const last = (await read()).at(-1)!.message;
  assert.deepEqual([last.kind, last.header], ["Goodbye", { message: "no Hello within 3 s" }]);
  assert.equal(clock.pending, 0);
});

Deno.test("a peer that never ends what it has begun is given up, however often it sends a byte", async () => {
  const { clock, side, write, read } = await bare({
    messageNs: 5 * SECOND,
    pingPeriodNs: 250 * MS,
    silenceNs: 10 * SECOND,
  });
  await write(hello);
  const bytes = Uint8Array.of(...frame("InferRequest", 1, REQUEST, 100), ...new Uint8Array(100));
  // Slow, but each is whole in time.
  for (const part of [bytes.subarray(0, 50), bytes.subarray(50), bytes.subarray(0, 1)]) {
    await write(part);
    await pass(clock, 4 * SECOND);
  }
  for (let i = 1; i < 4; i++) {
    await write(bytes.subarray(i, i + 1));
    await pass(clock, SECOND);
  }
  const reason = "a message was not complete after 5 s";
  const told = (await read()).at(-1)!.message;
  assert.deepEqual([told.kind, told.header], ["Goodbye", { message: reason }]);
  await pass(clock, 2 * SECOND);
  assert.deepEqual(side.events, ["accepted", "InferRequest 1", `closed: ${reason}`]);
  assert.equal(clock.pending, 0);
});

Deno.test("a peer may always be within a message, if each ends in time", async () => {
  const { clock, side, write } = await bare({
    messageNs: 5 * SECOND,
    pingPeriodNs: 250 * MS,
    silenceNs: 10 * SECOND,
  });
  await write(hello);
  const bytes = frame("EvictRequest", 1, { user_id: 1, model_id: 1 });
  await write(bytes.subarray(0, 50));
  for (let i = 0; i < 10; i++) {
    await pass(clock, 2 * SECOND);
    await write(Uint8Array.of(...bytes.subarray(50), ...bytes.subarray(0, 50)));
  }
  assert.deepEqual(side.events, ["accepted", ...Array(10).fill("EvictRequest 1")]);
});

Deno.test("of those that share a budget, the one that reads least is disconnected first", async () => {
  const sendBudget = new SendBudget(10_000);
  const [slow, good] = [
    await bare({ sendBudget }, { capacity: 100 }),
    await bare({ sendBudget }),
  ];
  for (const { write } of [slow, good]) await write(hello);
  const answer = [new Uint8Array(4000)];
  for (let i = 0; i < 2; i++) {
    slow.connection.send("InferResponse", i, { output_size: 4000 }, answer);
  }
  await pass(slow.clock, 0);
  assert.ok(sendBudget.queuedBytes > 7000);
  for (let i = 0; i < 5; i++) {
    good.connection.send("InferResponse", i, { output_size: 4000 }, answer);
    await pass(good.clock, 0);
  }
  assert.match(slow.side.events.at(-1)!, /^closed: the peer does not read: \d+ of the 10000 bytes/);
  assert.deepEqual(good.side.events, ["accepted"]);
  assert.equal(sendBudget.queuedBytes, 0);
  assert.equal(
    (await good.read()).filter(({ message }) => message.kind === "InferResponse").length,
    5,
  );
});

Deno.test("a Goodbye that is too much for the budget ends the link, and leaves no timer", async () => {
  const sendBudget = new SendBudget(10_000);
  const { write, connection, side, clock } = await bare({ sendBudget }, { capacity: 100 });
  await write(hello);
  connection.send("InferResponse", 1, { output_size: 9000 }, [new Uint8Array(9000)]);
  await pass(clock, 0);
  connection.close("x".repeat(4000));
  assert.equal(sendBudget.queuedBytes, 0);
  assert.equal(clock.pending, 0);
  await pass(clock, 0);
  assert.equal(side.events.length, 2);
  assert.match(side.events[1]!, /^closed: x{4000}$/);
});

Deno.test("a client that only pings may stay, unless there is a limit", async () => {
  const { clock, client, controller } = await pair({
    controller: { idleNs: 60 * SECOND, pingPeriodNs: 250 * MS, silenceNs: 30 * SECOND },
  });
  await passUntil(clock, 50 * SECOND);
  client.link!.send("InferRequest", 1, REQUEST);
  await passUntil(clock, 100 * SECOND);
  controller.link!.send("InferResponse", 1, { output_size: 0 });
  await passUntil(clock, 159 * SECOND);
  assert.deepEqual(client.events, ["accepted", "InferResponse 1"]);
  await passUntil(clock, 163 * SECOND);
  const reason = "no requests for 60 s: connect again when there are some";
  assert.equal(client.events.at(-1), `closed: the peer closed: ${reason}`);
  assert.equal(controller.events.at(-1), `closed: ${reason}`);
});

Deno.test("what a peer may send can depend on its role", async () => {
  const large = { maxHeaderBytes: 1000, maxPayloadBytes: 1000 };
  const small = { ...large, maxPayloadBytes: 10 };
  const { client, controller, clock } = await pair({
    controller: { limits: large, limitsOf: (role) => role === "client" ? small : large },
  });
  client.link!.send("InferRequest", 1, REQUEST, [new Uint8Array(10)]);
  client.link!.send("InferRequest", 2, REQUEST, [new Uint8Array(11)]);
  await passUntil(clock, 2 * SECOND);
  assert.deepEqual(controller.events, [
    "accepted",
    "InferRequest 1",
    "closed: protocol error: InferRequest: payload of 11 bytes, limit 10",
  ]);
});

Deno.test("a connection that cannot be served is told why, and is no link", async () => {
  const clock = new VirtualClock();
  const [a, b] = pipe();
  const client = new Side(), controller = new Side();
  client.connection(a, clock, "client", "controller").start();
  controller.connection(b, clock, "controller", "client").refuse("limit of 3 connections");
  await passUntil(clock, 0);
  assert.deepEqual(client.events, ["refused: the peer closed: limit of 3 connections"]);
  assert.deepEqual(controller.events, ["refused: limit of 3 connections"]);
  assert.equal(clock.pending, 0);
});

Deno.test("nodes that have been there for years still understand each other", async () => {
  const startNs = 10 * 365 * 86_400 * SECOND;
  const { clock, controller, clientEnd } = await pair({}, {}, startNs);
  await pass(clock, SECOND);
  clientEnd.send("InferRequest", 1, REQUEST);
  await pass(clock, SECOND);
  assert.deepEqual(controller.events, ["accepted", "InferRequest 1"]);
  assert.ok(clientEnd.sync.known);
});

Deno.test("pings keep both clocks' estimates, and reach no handler", async () => {
  const often = { pingPeriodNs: 250 * MS };
  const { clock, client, clientEnd, controllerEnd } = await pair({
    client: often,
    controller: often,
  });
  await passUntil(clock, SECOND);
  assert.ok(clientEnd.sync.known && controllerEnd.sync.known);
  assert.equal(clientEnd.sync.offsetNs, 0);
  assert.equal(clientEnd.traffic.sentMessages, 1 + 4);
  assert.deepEqual(client.events, ["accepted"]);
});

Deno.test("a peer that dies between messages or within one", async () => {
  const between = await bare();
  await between.write(hello);
  between.ours.close();
  await passUntil(between.clock, 0);
  assert.deepEqual(between.side.events, ["accepted", "closed: closed by the peer"]);

  for (const cut of [1, 39, 50, 200]) {
    const within = await bare();
    await within.write(hello);
    const bytes = new Uint8Array(1000);
    bytes.set(frame("InferRequest", 1, REQUEST, 900));
    await within.write(bytes.subarray(0, cut));
    within.ours.close();
    await passUntil(within.clock, 0);
    assert.deepEqual(within.side.events, [
      "accepted",
      "closed: closed by the peer within a message",
    ]);
    assert.equal(within.clock.pending, 0);
  }
});

Deno.test("a network that fails ends the link, with what it says", async () => {
  const never = () => new Promise<never>(() => {});
  const failing = () => Promise.reject(new Error("no route to host"));
  for (
    const [what, read, write] of [["write", never, failing], ["read", failing, never]] as const
  ) {
    const clock = new VirtualClock();
    const side = new Side();
    let closed = 0;
    const stream = { read, write, closeWrite: () => Promise.resolve(), close: () => closed++ };
    const options = { role: "client", peerRoles: ["controller"], address: "" } as const;
    const connection = new Connection(stream, clock, options, side.accept, side.refused);
    connection.start();
    await pass(clock, 0);
    assert.deepEqual(side.events, [`refused: ${what} failed: no route to host`]);
    assert.deepEqual([closed, clock.pending, connection.queuedBytes], [1, 0, 0]);
  }
});

Deno.test("an error in our own handler closes this link as our fault, and is reported", async () => {
  const { clock, client, controller, clientEnd } = await pair();
  const bug = new TypeError("x is undefined");
  controller.onMessage = () => {
    throw bug;
  };
  clientEnd.send("InferRequest", 1, REQUEST);
  clientEnd.send("InferRequest", 2, REQUEST);
  await passUntil(clock, 0);
  assert.deepEqual(controller.events, [
    "accepted",
    "InferRequest 1",
    "closed: internal error: x is undefined",
  ]);
  assert.deepEqual(controller.faults, [bug]);
  // The peer is not blamed, and learns nothing of our insides.
  assert.deepEqual(client.events, ["accepted", "closed: the peer closed: internal error"]);
});

Deno.test("errors in accept, onSent and onClose are reported and end in one close", async () => {
  const { clock, client, clientEnd } = await pair();
  clientEnd.send("InferRequest", 1, REQUEST, [], () => {
    throw new Error("in onSent");
  });
  await passUntil(clock, 0);
  assert.deepEqual(client.events, ["accepted", "closed: internal error: in onSent"]);
  assert.equal(client.faults.length, 1);

  const [ours, stream] = pipe();
  const side = new Side();
  const failing = new Connection(
    stream,
    clock,
    { role: "controller", peerRoles: ["client"], address: "", onFault: (e) => side.faults.push(e) },
    () => {
      throw new Error("in accept");
    },
    (reason) => {
      side.events.push(reason);
      throw new Error("in onRefused");
    },
  );
  failing.start();
  await ours.write(hello);
  await pass(clock, 2 * SECOND);
  assert.deepEqual(side.events, ["internal error: in accept"]);
  assert.deepEqual(side.faults.map((fault) => (fault as Error).message), [
    "in accept",
    "in onRefused",
  ]);
});

Deno.test("what a peer writes cannot move the cursor or fake lines in our output", async () => {
  const { side, write } = await bare();
  await write(hello);
  await write(frame("Goodbye", 0, { message: "bye\x1b[2J\nroot logged in" }));
  assert.deepEqual(side.events[1], "closed: the peer closed: bye?[2J?root logged in");
});

Deno.test("whatever the peer sends and whenever it stops, there is one close and nothing after it", async () => {
  const piece = fc.oneof(
    fc.constant(hello),
    fc.constant(frame("InferRequest", 1, REQUEST)),
    fc.constant(frame("Ping", 0, {})),
    fc.constant(frame("Goodbye", 0, { message: "" })),
    fc.uint8Array({ maxLength: 60 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 6 }), fc.boolean(), async (pieces, first) => {
      const { side, ours, clock } = await bare();
      if (first) await ours.write(hello).catch(() => {});
      for (const bytes of pieces) {
        await ours.write(bytes).catch(() => {});
        await pass(clock, 0);
      }
      ours.close();
      await pass(clock, 60 * SECOND);
      const ends = side.events.filter((event) => /^(closed|refused): /.test(event));
      assert.equal(ends.length, 1);
      assert.equal(side.events.at(-1), ends[0]);
      assert.equal(ends[0]!.startsWith("closed"), side.events[0] === "accepted");
      assert.deepEqual(side.faults, []);
      assert.equal(clock.pending, 0);
    }),
    { numRuns: 150 },
  );
});
