/**
 * What a connection still has to write.
 *
 * The counterpart of FrameParser: synchronous, and independent of sockets. Small frames are encoded side by
 * side into one chunk, so that what is queued in one turn leaves in one write. Large payloads are queued as
 * they are and not copied.
 */
import { packHeader, PREFIX_BYTES, writePrefix } from "./frame.ts";
import type { Kind } from "./messages.ts";

const CHUNK_BYTES = 64 * 1024;
/** Enough for the pings of a connection that is idle, of which there may be thousands. */
const FIRST_CHUNK_BYTES = 4 * 1024;
/** Payloads up to this size are copied into the chunk: that costs less than another write. */
const COPIED_PAYLOAD_BYTES = 8 * 1024;

export class SendQueue {
  /** Pieces to be written, the oldest first, before what is in the chunk. */
  #pieces: Uint8Array[] = [];
  /** How much of the first piece has been written. */
  #written = 0;
  /** Encoded and not yet among the pieces: chunk[start, end). */
  #chunk = new Uint8Array(FIRST_CHUNK_BYTES);
  #view = new DataView(this.#chunk.buffer);
  #start = 0;
  #end = 0;
  /** Bytes ever queued, and ever sent. */
  #queuedTotal = 0;
  #sentTotal = 0;
  /** Whom to tell when `#sentTotal` reaches a number, in order. */
  #waiting: { readonly total: number; readonly fn: () => void }[] = [];

  /** Bytes queued and not yet sent. */
  get bytes(): number {
    return this.#queuedTotal - this.#sentTotal;
  }

  /** Bytes ever sent: shows whether a peer reads. */
  get sentTotal(): number {
    return this.#sentTotal;
  }

  /** Queues a frame; returns its size. Once it is sent, `sent` returns `onSent`. */
  push(
    kind: Kind,
    id: number,
    header: object,
    payload: readonly Uint8Array[],
    payloadBytes: number,
    sentNs: number,
    deltaNs: number,
    onSent: (() => void) | undefined,
  ): number {
    if (payloadBytes > 0xffff_ffff) {
      throw new RangeError(`${kind}: a payload of ${payloadBytes} bytes does not fit a frame`);
    }
    const body = packHeader(header);
    const copied = payloadBytes <= COPIED_PAYLOAD_BYTES;
    const here = PREFIX_BYTES + body.length + (copied ? payloadBytes : 0);
    this.#reserve(here);
    let at = this.#end;
    writePrefix(this.#view, at, kind, id, body.length, payloadBytes, sentNs, deltaNs);
    this.#chunk.set(body, at + PREFIX_BYTES);
    at += PREFIX_BYTES + body.length;
    if (copied) {
      for (let i = 0; i < payload.length; i++) {
        this.#chunk.set(payload[i]!, at);
        at += payload[i]!.length;
      }
    }
    this.#end = at;
    if (!copied) {
      this.#cut();
      for (let i = 0; i < payload.length; i++) {
        if (payload[i]!.length > 0) this.#pieces.push(payload[i]!);
      }
    }
    const frameBytes = PREFIX_BYTES + body.length + payloadBytes;
    this.#queuedTotal += frameBytes;
    if (onSent !== undefined) this.#waiting.push({ total: this.#queuedTotal, fn: onSent });
    return frameBytes;
  }

  /** What to write next; null when there is nothing. It stays first until `sent` tells otherwise. */
  next(): Uint8Array | null {
    if (this.#pieces.length === 0) {
      if (this.#start === this.#end) return null;
      this.#cut();
    }
    const piece = this.#pieces[0]!;
    return this.#written === 0 ? piece : piece.subarray(this.#written);
  }

  /** Takes note that `n` bytes of `next()` are written; returns whom to tell, in order. */
  sent(n: number): readonly (() => void)[] {
    this.#sentTotal += n;
    this.#written += n;
    if (this.#written === this.#pieces[0]!.length) {
      this.#pieces.shift();
      this.#written = 0;
      if (this.#pieces.length === 0 && this.#start === this.#end) this.#reuseChunk();
    }
    let done = 0;
    while (done < this.#waiting.length && this.#waiting[done]!.total <= this.#sentTotal) done++;
    return done === 0 ? NOBODY : this.#waiting.splice(0, done).map(({ fn }) => fn);
  }

  /** Forgets all that is queued. */
  clear(): void {
    this.#pieces = [];
    this.#waiting = [];
    this.#written = 0;
    this.#start = this.#end = 0;
    this.#queuedTotal = this.#sentTotal;
  }

  /** Makes sure that the chunk has room for this many bytes. */
  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#chunk.length) return;
    const gathered = this.#chunk.subarray(this.#start, this.#end);
    if (this.#chunk.length < CHUNK_BYTES && gathered.length + bytes <= CHUNK_BYTES) {
      // The first chunk is small: what has gathered moves on, and still leaves in one write.
      this.#setChunk(CHUNK_BYTES);
      this.#chunk.set(gathered);
      this.#end = gathered.length;
      return;
    }
    this.#cut();
    this.#setChunk(Math.max(CHUNK_BYTES, bytes));
  }

  /** Once all of the chunk is written, nobody reads it any more. */
  #reuseChunk(): void {
    // A large header is rare; its memory is not kept.
    if (this.#chunk.length > CHUNK_BYTES) this.#setChunk(CHUNK_BYTES);
    this.#start = this.#end = 0;
  }

  #setChunk(bytes: number): void {
    this.#chunk = new Uint8Array(bytes);
    this.#view = new DataView(this.#chunk.buffer);
    this.#start = this.#end = 0;
  }

  /** Ends the piece that is gathering in the chunk. */
  #cut(): void {
    if (this.#start === this.#end) return;
    this.#pieces.push(this.#chunk.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }
}

const NOBODY: readonly (() => void)[] = [];
