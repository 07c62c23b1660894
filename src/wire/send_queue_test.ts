import assert from "node:assert/strict";
import fc from "fast-check";
import { type Frame, FrameParser } from "./frame.ts";
import { SendQueue } from "./send_queue.ts";

const HEADER = { user_id: 1, model_id: 2, batch_size: 1, deadline_ns: 0, slo_factor: 0 };

/** Sizes at which the queue does something else: copies or not, and begins another chunk. */
const size = fc.oneof(
  fc.nat(300),
  fc.constantFrom(0, 1, 4096, 8192, 8193, 65_000, 65_536, 70_000),
  fc.nat(100_000),
);
type Step =
  | { readonly push: readonly number[] }
  | { readonly write: number };
const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: fc.record({ push: fc.array(size, { maxLength: 4 }) }), weight: 2 },
  {
    arbitrary: fc.record({
      write: fc.oneof(fc.constantFrom(1, 2), fc.integer({ min: 1, max: 90_000 })),
    }),
    weight: 3,
  },
);

Deno.test("frames leave as they were queued, however much each write takes", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new SendQueue();
      const parser = new FrameParser();
      const queued: { payload: Uint8Array; endsAt: number }[] = [];
      const arrived: Frame[] = [];
      const told: number[] = [];
      let queuedBytes = 0, sentBytes = 0;
      const write = (most: number) => {
        const piece = queue.next();
        if (piece === null) return false;
        assert.ok(piece.length > 0);
        const n = Math.min(most, piece.length);
        arrived.push(...parser.feed(piece.subarray(0, n)));
        sentBytes += n;
        for (const fn of queue.sent(n)) fn();
        // Of those that have been sent by now, and of no others, in order.
        const done = queued.filter(({ endsAt }) => endsAt <= sentBytes).length;
        assert.deepEqual(told, Array.from({ length: done }, (_, id) => id));
        return true;
      };
      for (const step of steps) {
        if ("write" in step) write(step.write);
        else {
          const id = queued.length;
          const pieces = step.push.map((length, i) => new Uint8Array(length).fill(id + i + 1));
          const payload = Uint8Array.from(pieces.flatMap((piece) => [...piece]));
          const fn = () => void told.push(id);
          queuedBytes += queue.push(
            "InferRequest",
            id,
            HEADER,
            pieces,
            payload.length,
            5,
            NaN,
            fn,
          );
          queued.push({ payload, endsAt: queuedBytes });
        }
        assert.equal(queue.bytes, queuedBytes - sentBytes);
        assert.equal(queue.sentTotal, sentBytes);
      }
      while (write(Infinity));
      assert.equal(queue.bytes, 0);
      assert.deepEqual(
        arrived.map(({ message: { id, payload } }) => [id, payload]),
        queued.map(({ payload }, id) => [id, payload]),
      );
    }),
    { numRuns: 60 },
  );
});

Deno.test("a payload whose length does not fit a frame is refused, and nothing of it queued", () => {
  const queue = new SendQueue();
  const push = (bytes: number) =>
    queue.push("InferRequest", 1, HEADER, [], bytes, 0, NaN, undefined);
  assert.throws(() => push(2 ** 32), /InferRequest: a payload of 4294967296 bytes does not fit/);
  assert.equal(queue.bytes, 0);
  assert.equal(queue.next(), null);
});

Deno.test("what is cleared is not written, and nobody is told that it was", () => {
  const queue = new SendQueue();
  const told = () => assert.fail("it was never sent");
  const payload = [new Uint8Array(20_000)];
  for (let id = 0; id < 3; id++) {
    queue.push("InferRequest", id, HEADER, payload, 20_000, 0, NaN, told);
  }
  queue.sent(10);
  queue.clear();
  assert.equal(queue.bytes, 0);
  assert.equal(queue.next(), null);
});
