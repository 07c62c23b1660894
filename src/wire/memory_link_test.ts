import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import type { Clock } from "../core/clock.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import type { Link } from "./link.ts";
import { connectInMemory, type MemoryLinkOptions } from "./memory_link.ts";
import type { Header } from "./messages.ts";

const REQUEST: Header<"InferRequest"> = {
  user_id: 1,
  model_id: 2,
  batch_size: 1,
  deadline_ns: 0,
  slo_factor: 0,
};

/** A pair whose events carry the time at which they came. */
function pair(options?: MemoryLinkOptions, clock = new VirtualClock()) {
  const events: [number, string][] = [];
  const accept = (name: string) => (_link: Link) => ({
    onMessage: ({ id }: { id: number }) => events.push([clock.now(), `${name} got ${id}`]),
    onClose: (reason: string) => events.push([clock.now(), `${name} closed: ${reason}`]),
  });
  const [a, b] = connectInMemory(
    { name: "a", clock, accept: accept("a") },
    { name: "b", clock, accept: accept("b") },
    options,
  );
  return { clock, events, a, b };
}

Deno.test("links name the other side", () => {
  const { a, b } = pair();
  assert.equal(a.peer, "b");
  assert.equal(b.peer, "a");
});

Deno.test("a message takes the latency and the time of its bytes; a small one waits for a large", () => {
  // A byte a nanosecond.
  const { clock, events, a, b } = pair({ latencyNs: 5000, bytesPerSecond: 1e9 });
  let largeSentNs = 0, smallSentNs = 0;
  a.send("InferRequest", 1, REQUEST, [new Uint8Array(100_000)], () => largeSentNs = clock.now());
  const largeBytes = a.queuedBytes;
  assert.ok(largeBytes > 100_000 && largeBytes < 101_000);
  a.send("InferRequest", 2, REQUEST, [], () => smallSentNs = clock.now());
  const bothBytes = a.queuedBytes;
  // The other direction is free.
  b.send("EvictResponse", 3, {});
  clock.run(50_000);
  assert.equal(a.queuedBytes, bothBytes - 50_000);
  clock.run(SECOND);
  const smallBytes = bothBytes - largeBytes;
  assert.deepEqual(events, [
    [5000 + smallBytes, "a got 3"],
    [5000 + largeBytes, "b got 1"],
    [5000 + bothBytes, "b got 2"],
  ]);
  assert.equal(largeSentNs, largeBytes);
  assert.equal(smallSentNs, bothBytes);
  assert.equal(a.queuedBytes, 0);
});

Deno.test("the goodbye travels behind what is queued", () => {
  const { clock, events, a } = pair({ latencyNs: 1000, bytesPerSecond: 1e9 });
  a.send("InferRequest", 1, REQUEST, [new Uint8Array(10_000)]);
  const queued = a.queuedBytes;
  a.close("over");
  clock.run(SECOND);
  assert.deepEqual(events, [
    [queued, "a closed: over"],
    [queued + 1000, "b got 1"],
    [queued + 1000, "b closed: the peer closed: over"],
  ]);
  assert.equal(clock.pending, 0);
});

Deno.test("a cut loses what is under way, and both sides learn of it after the latency", () => {
  const { clock, events, a, b } = pair({ latencyNs: MS });
  a.send("InferRequest", 1, REQUEST);
  clock.run(MS);
  a.send("InferRequest", 2, REQUEST);
  b.close("not in time");
  b.cut();
  a.cut();
  clock.run(SECOND);
  assert.deepEqual(events.filter(([, event]) => event.startsWith("b")), [
    [MS, "b got 1"],
    [MS, "b closed: not in time"],
  ]);
  assert.deepEqual(events.filter(([, event]) => event.startsWith("a")), [
    [2 * MS, "a closed: connection lost"],
  ]);
});

Deno.test("a cut link does not say that it sent what it lost", () => {
  const { clock, a } = pair({ latencyNs: 1000, bytesPerSecond: 1e9 });
  let sent = 0;
  a.send("InferRequest", 1, REQUEST, [new Uint8Array(100_000)], () => sent++);
  a.cut();
  clock.run(SECOND);
  assert.equal(sent, 0);
  assert.equal(a.queuedBytes, 0);
});

Deno.test("estimates see through clocks of different origins", () => {
  const clock = new VirtualClock();
  const shifted: Clock = {
    now: () => clock.now() + 7 * SECOND,
    at: (timeNs, fn) => clock.at(timeNs - 7 * SECOND, fn),
  };
  const handler = () => ({ onMessage() {}, onClose() {} });
  const [a, b] = connectInMemory(
    { name: "a", clock, accept: handler },
    { name: "b", clock: shifted, accept: handler },
    { latencyNs: MS },
  );
  for (let id = 0; id < 3; id++) {
    a.send("InferRequest", id, REQUEST);
    clock.advance(10 * MS);
    b.send("EvictResponse", id, {});
    clock.advance(10 * MS);
  }
  assert.equal(a.sync.offsetNs, -7 * SECOND);
  assert.equal(b.sync.offsetNs, 7 * SECOND);
  assert.equal(a.sync.rttNs, 2 * MS);
});

Deno.test("a payload of several pieces arrives as one; one of one piece is handed over as it is", () => {
  const clock = new VirtualClock();
  const payloads: Uint8Array[] = [];
  const [a] = connectInMemory(
    { name: "a", clock, accept: () => ({ onMessage() {}, onClose() {} }) },
    {
      name: "b",
      clock,
      accept: () => ({ onMessage: ({ payload }) => void payloads.push(payload), onClose() {} }),
    },
  );
  const piece = Uint8Array.of(1, 2);
  a.send("InferRequest", 1, REQUEST, [piece, new Uint8Array(0), Uint8Array.of(3)]);
  a.send("InferRequest", 2, REQUEST, [piece]);
  clock.run(SECOND);
  assert.deepEqual(payloads[0], Uint8Array.of(1, 2, 3));
  assert.equal(payloads[1], piece);
});

Deno.test("a message that is delayed holds up those after it", () => {
  const delays = [5 * MS, 0, 20 * MS];
  const { clock, events, a } = pair({ latencyNs: MS, extraDelayNs: () => delays.shift()! });
  for (const id of [1, 2, 3]) a.send("InferRequest", id, REQUEST);
  clock.run(SECOND);
  assert.deepEqual(events, [[6 * MS, "b got 1"], [6 * MS, "b got 2"], [21 * MS, "b got 3"]]);
});

Deno.test("an error in a handler fails the simulation where it happens", () => {
  const clock = new VirtualClock();
  const [a] = connectInMemory(
    { name: "a", clock, accept: () => ({ onMessage() {}, onClose() {} }) },
    {
      name: "b",
      clock,
      accept: () => ({
        onMessage() {
          throw new Error("a bug");
        },
        onClose() {},
      }),
    },
  );
  a.send("InferRequest", 1, REQUEST);
  assert.throws(() => clock.run(SECOND), /a bug/);
});
