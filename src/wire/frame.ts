/**
 * Frames: how messages lie in a stream of bytes.
 *
 *     offset  size  field (big endian)
 *          0     2  magic 0x4357, "CW"
 *          2     1  frame format, 1
 *          3     1  kind, see messages.ts
 *          4     4  header length in bytes
 *          8     4  payload length in bytes
 *         12     4  reserved, 0
 *         16     8  id, a float64 that holds an integer of at most 2^53
 *         24     8  when the sender queued it: float64, nanoseconds of the sender's clock
 *         32     8  the sender's smallest clock delta (clock_sync.ts): float64, NaN when unknown
 *         40        header (msgpack), then payload (raw)
 *
 * Lengths are checked before anything is allocated.
 */
import { Packr } from "msgpackr";
import { type AnyMessage, checkHeader, type Kind, KIND_NUMBERS, kindOf } from "./messages.ts";
import { HeaderError } from "./schema.ts";

export const PREFIX_BYTES = 40;
const MAGIC = 0x4357;
const FORMAT = 1;

/** What a side accepts from its peer. */
export interface FrameLimits {
  readonly maxHeaderBytes: number;
  readonly maxPayloadBytes: number;
}

/** Room for lists of a hundred thousand models, and for batches of tens of megabytes. */
export const DEFAULT_FRAME_LIMITS: FrameLimits = {
  maxHeaderBytes: 32 * 2 ** 20,
  maxPayloadBytes: 256 * 2 ** 20,
};

/** The peer broke the protocol: nothing after this can be understood, so the link must close. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** A message with the timestamps of its frame. */
export interface Frame {
  readonly message: AnyMessage;
  readonly sentNs: number;
  readonly peerDeltaNs: number;
}

// Plain maps, so that any msgpack library can talk to us; integers beyond 2^53 are refused below.
const packr = new Packr({ useRecords: false, int64AsType: "number", largeBigIntToFloat: true });

/** Encodes everything but the payload, whose length is given. */
export function encodeFrame(
  kind: Kind,
  id: number,
  header: object,
  payloadBytes: number,
  sentNs: number,
  deltaNs: number,
): Uint8Array {
  const body = packr.pack(header);
  const bytes = new Uint8Array(PREFIX_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, MAGIC);
  view.setUint8(2, FORMAT);
  view.setUint8(3, KIND_NUMBERS[kind]);
  view.setUint32(4, body.length);
  view.setUint32(8, payloadBytes);
  view.setFloat64(16, id);
  view.setFloat64(24, sentNs);
  view.setFloat64(32, deltaNs);
  bytes.set(body, PREFIX_BYTES);
  return bytes;
}

/** Bytes that are gathered before a frame's header is whole; small frames pass through here. */
const STAGING_BYTES = 64 * 1024;

/**
 * Turns a stream of bytes into frames.
 *
 * A synchronous state machine: ask `target()` where the next bytes go, put some there, tell
 * `advance(n)`, and take the frames it returns. Large payloads are read right into the buffer that
 * the handler of the message gets. After a ProtocolError the parser is of no further use.
 */
export class FrameParser {
  readonly #limits: FrameLimits;
  /** Received and not yet parsed bytes are staging[start, end). */
  #staging = new Uint8Array(STAGING_BYTES);
  #start = 0;
  #end = 0;
  /** A frame whose header is parsed and whose payload is still coming. */
  #partial: Frame | null = null;
  #filled = 0;

  constructor(limits: FrameLimits = DEFAULT_FRAME_LIMITS) {
    this.#limits = limits;
  }

  /** Where to put the next bytes; never empty. Valid until `advance`. */
  target(): Uint8Array {
    if (this.#partial !== null) return this.#partial.message.payload.subarray(this.#filled);
    return this.#staging.subarray(this.#end);
  }

  /** Takes note of `n` bytes put into `target()`; returns the frames they complete, in order. */
  advance(n: number): readonly Frame[] {
    const frames: Frame[] = [];
    if (this.#partial !== null) {
      this.#filled += n;
      if (this.#filled < this.#partial.message.payload.length) return frames;
      frames.push(this.#partial);
      this.#partial = null;
      return frames;
    }
    this.#end += n;
    while (this.#partial === null) {
      const frame = this.#parse();
      if (frame === null) break;
      frames.push(frame);
    }
    this.#makeRoom();
    return frames;
  }

  /** As `target` and `advance`, for bytes that are already somewhere. */
  feed(bytes: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    for (let offset = 0; offset < bytes.length;) {
      const target = this.target();
      const n = Math.min(target.length, bytes.length - offset);
      target.set(bytes.subarray(offset, offset + n));
      offset += n;
      frames.push(...this.advance(n));
    }
    return frames;
  }

  /** Whether the stream may end here: no frame has begun. */
  get idle(): boolean {
    return this.#partial === null && this.#start === this.#end;
  }

  /** Parses one frame from staging. Null: more bytes are needed, or a payload is now expected. */
  #parse(): Frame | null {
    const available = this.#end - this.#start;
    if (available < PREFIX_BYTES) return null;
    const view = new DataView(this.#staging.buffer, this.#start, PREFIX_BYTES);
    if (view.getUint16(0) !== MAGIC || view.getUint8(2) !== FORMAT) {
      throw new ProtocolError(
        "not a Clockwork frame: is the peer a Clockwork node of the same version, on the right port?",
      );
    }
    const kind = kindOf(view.getUint8(3));
    if (kind === undefined) throw new ProtocolError(`unknown message kind ${view.getUint8(3)}`);
    const headerBytes = view.getUint32(4);
    const payloadBytes = view.getUint32(8);
    const { maxHeaderBytes, maxPayloadBytes } = this.#limits;
    if (headerBytes > maxHeaderBytes) {
      throw new ProtocolError(`${kind}: header of ${headerBytes} bytes, limit ${maxHeaderBytes}`);
    }
    if (payloadBytes > maxPayloadBytes) {
      throw new ProtocolError(
        `${kind}: payload of ${payloadBytes} bytes, limit ${maxPayloadBytes}`,
      );
    }
    const id = view.getFloat64(16);
    const sentNs = view.getFloat64(24);
    if (!Number.isSafeInteger(id) || id < 0) throw new ProtocolError(`${kind}: invalid id ${id}`);
    if (!(Math.abs(sentNs) <= Number.MAX_SAFE_INTEGER)) {
      throw new ProtocolError(`${kind}: invalid send time ${sentNs}`);
    }
    if (available < PREFIX_BYTES + headerBytes) {
      this.#reserve(PREFIX_BYTES + headerBytes);
      return null;
    }
    const headerStart = this.#start + PREFIX_BYTES;
    const header = decodeHeader(
      kind,
      this.#staging.subarray(headerStart, headerStart + headerBytes),
    );
    const payloadStart = headerStart + headerBytes;
    const here = Math.min(payloadBytes, this.#end - payloadStart);
    const payload = payloadBytes === 0 ? NO_PAYLOAD : new Uint8Array(payloadBytes);
    if (here > 0) payload.set(this.#staging.subarray(payloadStart, payloadStart + here));
    this.#start = payloadStart + here;
    const message = { kind, id, header, payload } as AnyMessage;
    const frame = { message, sentNs, peerDeltaNs: view.getFloat64(32) };
    if (here === payloadBytes) return frame;
    this.#partial = frame;
    this.#filled = here;
    return null;
  }

  /** Makes staging large enough for a frame's prefix and header, which are known to be allowed. */
  #reserve(bytes: number): void {
    if (bytes <= this.#staging.length) return;
    const larger = new Uint8Array(bytes + STAGING_BYTES);
    larger.set(this.#staging.subarray(this.#start, this.#end));
    this.#staging = larger;
    this.#end -= this.#start;
    this.#start = 0;
  }

  #makeRoom(): void {
    if (this.#start === this.#end) {
      this.#start = this.#end = 0;
      // A large header is rare; its memory is not kept.
      if (this.#staging.length > 4 * STAGING_BYTES) this.#staging = new Uint8Array(STAGING_BYTES);
    } else if (this.#start > 0) {
      this.#staging.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
  }
}

const NO_PAYLOAD = new Uint8Array(0);

function decodeHeader(kind: Kind, bytes: Uint8Array): unknown {
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch (error) {
    throw new ProtocolError(`${kind}: header is not msgpack (${(error as Error).message})`);
  }
  try {
    return checkHeader(kind, value);
  } catch (error) {
    if (error instanceof HeaderError) throw new ProtocolError(`${kind}: ${error.message}`);
    throw error;
  }
}
