import assert from "node:assert/strict";
import fc from "fast-check";
import { PayloadPool } from "./payload_pool.ts";

const TENSOR_BYTES = 602_112;

Deno.test("released memory is used again, for arrays of about that size", () => {
  const pool = new PayloadPool();
  const first = pool.take(TENSOR_BYTES);
  assert.equal(first.length, TENSOR_BYTES);
  pool.release(first);
  assert.ok(pool.idleBytes >= TENSOR_BYTES);
  const second = pool.take(TENSOR_BYTES - 100);
  assert.equal(second.buffer, first.buffer);
  assert.equal(second.length, TENSOR_BYTES - 100);
  assert.equal(pool.idleBytes, 0);
  assert.notEqual(pool.take(TENSOR_BYTES).buffer, first.buffer);
});

Deno.test("only what the pool lent is taken back, and only once", () => {
  const pool = new PayloadPool();
  pool.release(new Uint8Array(TENSOR_BYTES));
  pool.release(pool.take(100));
  assert.equal(pool.idleBytes, 0);
  const array = pool.take(TENSOR_BYTES);
  pool.release(array);
  const { idleBytes } = pool;
  pool.release(array);
  assert.equal(pool.idleBytes, idleBytes);
});

Deno.test("memory that went to another thread does not come back", () => {
  const pool = new PayloadPool();
  const array = pool.take(TENSOR_BYTES);
  structuredClone(array, { transfer: [array.buffer] });
  pool.release(array);
  assert.equal(pool.idleBytes, 0);
});

Deno.test("idle memory is bounded; sizes that are not asked for go first", () => {
  const pool = new PayloadPool(2 ** 20);
  const old = [pool.take(300_000), pool.take(300_000)];
  old.forEach((array) => pool.release(array));
  const recent = [pool.take(400_000), pool.take(400_000)];
  recent.forEach((array) => pool.release(array));
  assert.ok(pool.idleBytes <= 2 ** 20);
  assert.equal(pool.take(400_000).buffer, recent[1]!.buffer);
  assert.equal(pool.take(400_000).buffer, recent[0]!.buffer);
  const fresh = pool.take(300_000);
  assert.ok(old.every(({ buffer }) => buffer !== fresh.buffer));
  const large = pool.take(2 ** 21);
  pool.release(large);
  assert.ok(pool.idleBytes <= 2 ** 20);
});

Deno.test("sizes of which nothing is left make no room", () => {
  for (const evicted of [false, true]) {
    const pool = new PayloadPool(2 ** 20);
    const old = pool.take(700_000);
    pool.release(old);
    if (!evicted) pool.take(700_000);
    // The second takes the old one's room, the third that of the first.
    const recent = [pool.take(400_000), pool.take(400_000), pool.take(400_000)];
    for (const array of recent) pool.release(array);
    assert.equal(pool.idleBytes, 2 * recent[0]!.buffer.byteLength);
  }
});

Deno.test("no two owners share memory, and little is wasted", () => {
  const size = fc.integer({ min: 1, max: 3_000_000 });
  fc.assert(
    fc.property(fc.array(fc.tuple(size, fc.boolean()), { maxLength: 40 }), (steps) => {
      const pool = new PayloadPool(8 * 2 ** 20);
      const owned: Uint8Array[] = [];
      for (const [bytes, release] of steps) {
        if (release && owned.length > 0) pool.release(owned.splice(bytes % owned.length, 1)[0]!);
        const array = pool.take(bytes);
        assert.equal(array.length, bytes);
        assert.ok(array.buffer.byteLength <= bytes * 1.125 + 1);
        assert.ok(owned.every((other) => other.buffer !== array.buffer));
        owned.push(array);
        assert.ok(pool.idleBytes <= 8 * 2 ** 20);
      }
      // What it says to keep is there to be taken again, and nothing else is.
      for (const [bytes] of steps) {
        for (let before = Infinity; pool.idleBytes < before;) {
          before = pool.idleBytes;
          pool.take(bytes);
        }
      }
      assert.equal(pool.idleBytes, 0);
    }),
    { numRuns: 50 },
  );
});
