/**
 * Byte streams in memory, for tests of connections: what a peer reads, and in pieces of what size, is
 * up to the test.
 */
import type { ByteStream } from "./connection.ts";

export interface PipeOptions {
  /** Most bytes that wait to be read; a write beyond them waits. */
  readonly capacity?: number;
  /** Most bytes that one read returns. */
  readonly readBytes?: number;
}

/** One end of a pair of connected streams, and what the test can see of it. */
export class PipeEnd implements ByteStream {
  /** Sizes of the writes made so far. */
  readonly writes: number[] = [];
  /** Arrays handed to reads so far, in order. */
  readonly targets: Uint8Array[] = [];
  closed = false;
  #writing = false;
  readonly #out: Channel;
  readonly #in: Channel;
  readonly #readBytes: number;

  constructor(out: Channel, input: Channel, readBytes: number) {
    this.#out = out;
    this.#in = input;
    this.#readBytes = readBytes;
  }

  read(into: Uint8Array): Promise<number | null> {
    if (this.closed) return Promise.reject(new Error("the pipe is closed"));
    this.targets.push(into);
    return this.#in.read(into.subarray(0, this.#readBytes));
  }

  async write(bytes: Uint8Array): Promise<number> {
    if (this.closed) throw new Error("the pipe is closed");
    if (this.#writing) throw new Error("a write is under way: the bytes of two would mix");
    this.writes.push(bytes.length);
    this.#writing = true;
    try {
      return await this.#out.write(bytes);
    } finally {
      this.#writing = false;
    }
  }

  closeWrite(): Promise<void> {
    this.#out.end();
    return Promise.resolve();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#out.end();
    this.#in.abandon();
  }
}

/** Makes two connected streams. */
export function pipe({ capacity = Infinity, readBytes = Infinity }: PipeOptions = {}): [
  PipeEnd,
  PipeEnd,
] {
  const there = new Channel(capacity);
  const back = new Channel(capacity);
  return [new PipeEnd(there, back, readBytes), new PipeEnd(back, there, readBytes)];
}

/** One direction. */
class Channel {
  readonly #capacity: number;
  #bytes: Uint8Array[] = [];
  #length = 0;
  #ended = false;
  #abandoned = false;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  async read(into: Uint8Array): Promise<number | null> {
    while (this.#length === 0) {
      if (this.#abandoned) throw new Error("the pipe is closed");
      if (this.#ended) return null;
      await new Promise<void>((resolve) => this.#wakeReader = resolve);
    }
    let n = 0;
    while (n < into.length && this.#bytes.length > 0) {
      const first = this.#bytes[0]!;
      const part = first.subarray(0, into.length - n);
      into.set(part, n);
      n += part.length;
      if (part.length === first.length) this.#bytes.shift();
      else this.#bytes[0] = first.subarray(part.length);
    }
    this.#length -= n;
    this.#wakeWriter?.();
    return n;
  }

  async write(bytes: Uint8Array): Promise<number> {
    while (true) {
      if (this.#ended || this.#abandoned) throw new Error("broken pipe");
      const room = this.#capacity - this.#length;
      if (room > 0) {
        const part = bytes.slice(0, Math.min(room, bytes.length));
        this.#bytes.push(part);
        this.#length += part.length;
        this.#wakeReader?.();
        return part.length;
      }
      await new Promise<void>((resolve) => this.#wakeWriter = resolve);
    }
  }

  end(): void {
    this.#ended = true;
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }

  abandon(): void {
    this.#abandoned = true;
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }
}
