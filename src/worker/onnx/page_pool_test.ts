import assert from "node:assert/strict";
import fc from "fast-check";
import { layOut, PagePool, type PoolDevice } from "./page_pool.ts";

const PAGE = 4096;

/** A device with so much memory, which counts its buffers. */
class FakeDevice implements PoolDevice {
  readonly #capacityBytes: number;
  liveBytes = 0;
  created = 0;
  #failed = false;

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  createBuffer(descriptor: GPUBufferDescriptor): GPUBuffer {
    const { size } = descriptor;
    this.created++;
    this.liveBytes += size;
    if (this.liveBytes > this.#capacityBytes) this.#failed = true;
    let live = true;
    const destroy = () => {
      assert.ok(live, "destroyed twice");
      live = false;
      this.liveBytes -= size;
    };
    return { size, destroy } as unknown as GPUBuffer;
  }

  pushErrorScope(): undefined {
    this.#failed = false;
  }

  popErrorScope(): Promise<GPUError | null> {
    return Promise.resolve(this.#failed ? { message: "no room" } as GPUError : null);
  }
}

// The constants are a browser's globals, which this process may lack.
(globalThis as { GPUBufferUsage?: unknown }).GPUBufferUsage ??= {
  STORAGE: 128,
  COPY_DST: 8,
  COPY_SRC: 4,
};

Deno.test("tensors share pages without overlapping, at offsets that can be bound", () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 3 * PAGE })), (sizes) => {
    const { bufferBytes, places, totalBytes } = layOut(sizes, PAGE);
    assert.equal(places.length, sizes.length);
    assert.ok(bufferBytes.every((bytes) => bytes > 0 && bytes % PAGE === 0));
    assert.equal(totalBytes, bufferBytes.reduce((sum, bytes) => sum + bytes, 0));
    const parts = places.map(({ buffer, offset }, i) => ({ buffer, offset, size: sizes[i]! }));
    for (const { buffer, offset, size } of parts) {
      assert.equal(offset % 256, 0);
      assert.ok(offset + size <= bufferBytes[buffer]!);
    }
    parts.sort((a, b) => a.buffer - b.buffer || a.offset - b.offset);
    for (let i = 1; i < parts.length; i++) {
      const [a, b] = [parts[i - 1]!, parts[i]!];
      assert.ok(a.buffer < b.buffer || a.offset + a.size <= b.offset);
    }
    // First fit leaves at most one page, of those that share, less than half full.
    const half = bufferBytes.filter((bytes, buffer) =>
      bytes === PAGE &&
      2 * parts.filter((p) => p.buffer === buffer).reduce((s, p) => s + p.size + 255, 0) < PAGE
    );
    assert.ok(half.length <= 1);
  }));
});

Deno.test("small tensors fill what large ones leave of a page", () => {
  const { totalBytes } = layOut([3 / 8, 3 / 8, 5 / 8, 5 / 8].map((share) => share * PAGE), PAGE);
  assert.equal(totalBytes, 2 * PAGE);
});

Deno.test("weights come and go without new buffers", async () => {
  const device = new FakeDevice(100 * PAGE);
  const pool = new PagePool(device, 10 * PAGE);
  for (let i = 0; i < 1000; i++) {
    const buffers = await pool.take([PAGE, PAGE, 2 * PAGE]);
    assert.deepEqual([pool.usedBytes, pool.freeBytes], [4 * PAGE, 0]);
    pool.give(buffers);
  }
  assert.equal(device.created, 3);
  assert.deepEqual([pool.usedBytes, pool.freeBytes], [0, 4 * PAGE]);
});

Deno.test("no more than the limit is kept, whatever the sizes", async () => {
  const device = new FakeDevice(100 * PAGE);
  const pool = new PagePool(device, 5 * PAGE);
  for (const size of [1, 2, 3, 4, 5]) {
    const buffers = await pool.take([size * PAGE]);
    assert.ok(device.liveBytes <= 5 * PAGE, "not even while they are taken");
    pool.give(buffers);
    assert.ok(device.liveBytes <= 5 * PAGE);
    assert.equal(device.liveBytes, pool.freeBytes);
  }
  // The device may have more than the limit says, and what is in use is in use.
  const [first, second] = [await pool.take([3 * PAGE]), await pool.take([4 * PAGE])];
  pool.give(first);
  pool.give(second);
  assert.ok(device.liveBytes <= 5 * PAGE);
  assert.equal(device.liveBytes, pool.freeBytes);
});

Deno.test("when memory runs out, kept buffers go first; then the load fails with status 53", async () => {
  const device = new FakeDevice(6 * PAGE);
  const pool = new PagePool(device, 100 * PAGE);
  pool.give(await pool.take([4 * PAGE]));
  const held = await pool.take([3 * PAGE]);
  assert.deepEqual([device.liveBytes, pool.freeBytes], [3 * PAGE, 0]);
  await assert.rejects(
    pool.take([PAGE, 3 * PAGE]),
    (error: Error & { status: number }) => error.status === 53 && /no room/.test(error.message),
  );
  assert.deepEqual([device.liveBytes, pool.usedBytes], [3 * PAGE, 3 * PAGE]);
  pool.give(held);
  // Of what it takes anew one part was kept before, and is kept again.
  await assert.rejects(pool.take([3 * PAGE, 4 * PAGE]), /no room/);
  assert.deepEqual([device.liveBytes, pool.freeBytes, pool.usedBytes], [3 * PAGE, 3 * PAGE, 0]);
  assert.equal((await pool.take([6 * PAGE])).length, 1);
});
