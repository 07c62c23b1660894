/**
 * Memory for payloads, reused if owners return it.
 *
 * A fresh tensor-sized array costs more than the copy that fills it: the system clears its pages one
 * fault at a time, and the collector runs full rounds of several milliseconds to free what piles up
 * outside its heap. So whoever is done with a payload may `release` it. Nobody must: what is not
 * released is garbage collected like any other array.
 */

/** Smaller payloads are not worth keeping. */
const SMALLEST_BYTES = 32 * 1024;

export class PayloadPool {
  readonly #maxIdleBytes: number;
  /** Idle memory by size; arrays of one size are the rule, as a model's inputs are all alike. */
  readonly #idle = new Map<number, ArrayBuffer[]>();
  #idleBytes = 0;
  /** Memory that this pool made and somebody has now. Nothing else is ever taken back. */
  readonly #lent = new WeakSet<ArrayBufferLike>();

  /** Keeps at most `maxIdleBytes` for later. */
  constructor(maxIdleBytes = 128 * 2 ** 20) {
    this.#maxIdleBytes = maxIdleBytes;
  }

  /** Bytes that wait to be used again. */
  get idleBytes(): number {
    return this.#idleBytes;
  }

  /** Returns an array of this length, whose contents are anything. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    if (bytes < SMALLEST_BYTES) return new Uint8Array(bytes);
    const capacity = capacityFor(bytes);
    const idle = this.#idle.get(capacity);
    let memory = idle?.pop();
    if (memory === undefined) memory = new ArrayBuffer(capacity);
    else {
      this.#idleBytes -= capacity;
      if (idle!.length === 0) this.#idle.delete(capacity);
    }
    this.#lent.add(memory);
    return new Uint8Array(memory, 0, bytes);
  }

  /**
   * Gives an array's memory back. Only its owner may, and neither it nor any other view of its memory
   * may be read or written afterwards. Arrays that are not of this pool are left alone.
   */
  release(array: Uint8Array): void {
    const memory = array.buffer;
    if (!this.#lent.delete(memory)) return;
    const capacity = memory.byteLength;
    // Zero once the memory has been transferred to another thread.
    if (capacity === 0 || capacity > this.#maxIdleBytes) return;
    this.#makeRoom(capacity);
    const idle = this.#idle.get(capacity);
    if (idle === undefined) this.#idle.set(capacity, [memory as ArrayBuffer]);
    else idle.push(memory as ArrayBuffer);
    this.#idleBytes += capacity;
  }

  /** Drops idle memory until this much more may be kept, of sizes that have lain there longest first. */
  #makeRoom(bytes: number): void {
    while (this.#idleBytes + bytes > this.#maxIdleBytes) {
      const [capacity, idle] = this.#idle.entries().next().value!;
      idle.pop();
      this.#idleBytes -= capacity;
      if (idle.length === 0) this.#idle.delete(capacity);
    }
  }
}

/** Rounds up to a multiple of an eighth of the power of two below: wastes an eighth at most. */
function capacityFor(bytes: number): number {
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3);
  return Math.ceil(bytes / step) * step;
}

/** The pool that links over TCP receive into. */
export const payloads = new PayloadPool();
