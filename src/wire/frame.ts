/**
 * Frames: the encoding of messages in a stream of bytes.
 *
 *     offset  size  field (big endian)
 *          0     2  magic 0x4357, "CW"
 *          2     1  frame format, 1
 *          3     1  kind, see messages.ts
 *          4     4  header length in bytes
 *          8     4  payload length in bytes
 *         12     4  reserved, 0
 *         16     8  id, a float64 that holds an integer from 0 to 2^53 - 1
 *         24     8  when the sender queued it: float64, nanoseconds of the sender's clock
 *         32     8  the sender's smallest clock delta (clock_sync.ts): float64, NaN when unknown
 *         40        header (msgpack), then payload (raw)
 *
 * Lengths are checked before anything is allocated.
 */
import { Packr } from "msgpackr";
import { MAX_TIME_NS } from "../core/clock.ts";
import { type AnyMessage, checkHeader, type Kind, KIND_NUMBERS, kindOf } from "./messages.ts";
import { MsgpackError, MsgpackReader } from "./msgpack_reader.ts";
import { payloads } from "./payload_pool.ts";
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

/** Says why a peer may not send a message of this kind now; undefined: it may. */
export type Refusal = (kind: Kind) => string | undefined;

// Plain maps, so that any msgpack library can talk to us.
const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: true });

/** Kinds below this number are the connection's own, and carry no payload. */
const FIRST_PAYLOAD_KIND = 16;

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
  writePrefix(view, 0, kind, id, body.length, payloadBytes, sentNs, deltaNs);
  bytes.set(body, PREFIX_BYTES);
  return bytes;
}

/** Encodes a header as msgpack. The result is valid until the next call. */
export function packHeader(header: object): Uint8Array {
  return packr.pack(header);
}

/** Writes a frame's first {@link PREFIX_BYTES} bytes at `offset`. */
export function writePrefix(
  view: DataView,
  offset: number,
  kind: Kind,
  id: number,
  headerBytes: number,
  payloadBytes: number,
  sentNs: number,
  deltaNs: number,
): void {
  view.setUint16(offset, MAGIC);
  view.setUint8(offset + 2, FORMAT);
  view.setUint8(offset + 3, KIND_NUMBERS[kind]);
  view.setUint32(offset + 4, headerBytes);
  view.setUint32(offset + 8, payloadBytes);
  view.setUint32(offset + 12, 0);
  view.setFloat64(offset + 16, id);
  view.setFloat64(offset + 24, sentNs);
  view.setFloat64(offset + 32, deltaNs);
}

/** Bytes that are gathered before a frame's header is whole; small frames pass through here. */
const STAGING_BYTES = 64 * 1024;
/** What there is until a read has filled it: of thousands of connections, most are idle. */
const FIRST_STAGING_BYTES = 4 * 1024;

/**
 * Turns a stream of bytes into frames.
 *
 * A synchronous state machine: ask `target()` where the next bytes go, put some there, tell
 * `advance(n)`, and take frames from `next()` until it has none. Large payloads are read right into
 * the array that the handler of the message gets. After a ProtocolError the parser is of no further
 * use.
 */
export class FrameParser {
  /** May be changed between frames. */
  limits: FrameLimits;
  readonly #reader = new MsgpackReader();
  /** Asked before anything is allocated for a frame; may be changed between frames. */
  refusal: Refusal | undefined;
  /** Received and not yet parsed bytes are staging[start, end). */
  #staging = new Uint8Array(FIRST_STAGING_BYTES);
  #view = new DataView(this.#staging.buffer);
  #start = 0;
  #end = 0;
  /** A frame whose header is parsed and whose payload is still coming. */
  #partial: Frame | null = null;
  #filled = 0;

  constructor(limits: FrameLimits = DEFAULT_FRAME_LIMITS) {
    this.limits = limits;
  }

  /** Where to put the next bytes, once `next` has returned null; never empty. */
  target(): Uint8Array {
    if (this.#partial !== null) return this.#partial.message.payload.subarray(this.#filled);
    return this.#staging.subarray(this.#end);
  }

  /** Takes note of `n` bytes put into `target()`. */
  advance(n: number): void {
    if (this.#partial !== null) this.#filled += n;
    else this.#end += n;
  }

  /**
   * Returns the next whole frame, or null when that needs more bytes.
   * @throws {ProtocolError}
   */
  next(): Frame | null {
    if (this.#partial === null) {
      const frame = this.#parse();
      if (frame === null) this.#makeRoom();
      return frame;
    }
    const frame = this.#partial;
    if (this.#filled < frame.message.payload.length) return null;
    this.#partial = null;
    return frame;
  }

  /** As `target`, `advance` and `next`, for bytes that are already somewhere. */
  *feed(bytes: Uint8Array): Generator<Frame> {
    for (let offset = 0; offset < bytes.length;) {
      const target = this.target();
      const n = Math.min(target.length, bytes.length - offset);
      target.set(bytes.subarray(offset, offset + n));
      offset += n;
      this.advance(n);
      for (let frame = this.next(); frame !== null; frame = this.next()) yield frame;
    }
  }

  /** Whether the stream may end here: no frame has begun. */
  get idle(): boolean {
    return this.#partial === null && this.#start === this.#end;
  }

  /** Parses one frame from staging. Null: more bytes are needed, or a payload is now expected. */
  #parse(): Frame | null {
    const available = this.#end - this.#start;
    if (available < 3) return null;
    const view = this.#view;
    const start = this.#start;
    // Checked first: another protocol's greeting may be shorter than a frame.
    if (view.getUint16(start) !== MAGIC || view.getUint8(start + 2) !== FORMAT) {
      if (isTls(view, start)) {
        throw new ProtocolError(
          "the peer speaks TLS: give certificates to both sides (--tls-cert), or to neither",
        );
      }
      throw new ProtocolError(
        "not a Clockwork frame: is the peer a Clockwork node of the same version, on the right port?",
      );
    }
    if (available < PREFIX_BYTES) return null;
    const number = view.getUint8(start + 3);
    const kind = kindOf(number);
    if (kind === undefined) throw new ProtocolError(`unknown message kind ${number}`);
    const refused = this.refusal?.(kind);
    if (refused !== undefined) throw new ProtocolError(refused);
    const headerBytes = view.getUint32(start + 4);
    const payloadBytes = view.getUint32(start + 8);
    const maxHeaderBytes = Math.min(this.limits.maxHeaderBytes, maxHeaderBytesOf(kind));
    const maxPayloadBytes = number < FIRST_PAYLOAD_KIND ? 0 : this.limits.maxPayloadBytes;
    if (headerBytes > maxHeaderBytes) {
      throw new ProtocolError(`${kind}: header of ${headerBytes} bytes, limit ${maxHeaderBytes}`);
    }
    if (payloadBytes > maxPayloadBytes) {
      throw new ProtocolError(
        `${kind}: payload of ${payloadBytes} bytes, limit ${maxPayloadBytes}`,
      );
    }
    const id = view.getFloat64(start + 16);
    const sentNs = view.getFloat64(start + 24);
    const peerDeltaNs = view.getFloat64(start + 32);
    if (!Number.isSafeInteger(id) || id < 0) throw new ProtocolError(`${kind}: invalid id ${id}`);
    if (!isTime(sentNs)) throw new ProtocolError(`${kind}: invalid send time ${sentNs}`);
    if (!isTime(peerDeltaNs) && !Number.isNaN(peerDeltaNs)) {
      throw new ProtocolError(`${kind}: invalid clock delta ${peerDeltaNs}`);
    }
    if (available < PREFIX_BYTES + headerBytes) {
      this.#reserve(PREFIX_BYTES + headerBytes);
      return null;
    }
    const headerStart = start + PREFIX_BYTES;
    const payloadStart = headerStart + headerBytes;
    const header = this.#header(kind, headerStart, payloadStart);
    const here = Math.min(payloadBytes, this.#end - payloadStart);
    const payload = payloadBytes === 0 ? NO_PAYLOAD : payloads.take(payloadBytes);
    if (here > 0) payload.set(this.#staging.subarray(payloadStart, payloadStart + here));
    this.#start = payloadStart + here;
    const message = { kind, id, header, payload } as AnyMessage;
    const frame = { message, sentNs, peerDeltaNs };
    if (here === payloadBytes) return frame;
    this.#partial = frame;
    this.#filled = here;
    return null;
  }

  #header(kind: Kind, start: number, end: number): unknown {
    try {
      return checkHeader(kind, this.#reader.read(this.#staging, this.#view, start, end));
    } catch (error) {
      if (error instanceof HeaderError) throw new ProtocolError(`${kind}: ${error.message}`);
      if (error instanceof MsgpackError) {
        throw new ProtocolError(`${kind}: header is not valid msgpack: ${error.message}`);
      }
      throw error;
    }
  }

  /** Makes staging large enough for a frame's prefix and header, which are known to be allowed. */
  #reserve(bytes: number): void {
    if (bytes <= this.#staging.length) return;
    const larger = new Uint8Array(bytes + STAGING_BYTES);
    larger.set(this.#staging.subarray(this.#start, this.#end));
    this.#setStaging(larger);
    this.#end -= this.#start;
    this.#start = 0;
  }

  #makeRoom(): void {
    if (this.#end === this.#staging.length && this.#end < STAGING_BYTES) {
      const larger = new Uint8Array(STAGING_BYTES);
      larger.set(this.#staging.subarray(this.#start, this.#end));
      this.#setStaging(larger);
      this.#end -= this.#start;
      this.#start = 0;
    }
    if (this.#start === this.#end) {
      this.#start = this.#end = 0;
      // A large header is rare; its memory is not kept.
      if (this.#staging.length > STAGING_BYTES) this.#setStaging(new Uint8Array(STAGING_BYTES));
    } else if (this.#start > 0) {
      this.#staging.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
  }

  #setStaging(staging: Uint8Array<ArrayBuffer>): void {
    this.#staging = staging;
    this.#view = new DataView(staging.buffer);
  }
}

const NO_PAYLOAD = new Uint8Array(0);

/** A TLS record: an alert or a handshake, of any version. */
function isTls(view: DataView, start: number): boolean {
  const type = view.getUint8(start);
  return (type === 0x15 || type === 0x16) && view.getUint8(start + 1) === 3;
}

function isTime(ns: number): boolean {
  return Math.abs(ns) <= MAX_TIME_NS;
}

/** Only what lists models or uploads has large headers; the others' longest parts are a batch's sizes or a path. */
function maxHeaderBytesOf(kind: Kind): number {
  switch (kind) {
    case "Hello":
      // From those that have not been let in yet: a version, a role, and a token.
      return 8 * 1024;
    case "LsResponse":
    case "GetWorkerStateResult":
    case "ListUploadsResult":
    case "ListUploadsResponse":
      return Infinity;
    case "LoadModelFromDiskResult":
    case "DescribeModelsResponse":
      // The names and shapes of 256 inputs and 256 outputs.
    case "ClusterStateResponse":
      return 2 ** 20;
    default:
      return 64 * 1024;
  }
}
