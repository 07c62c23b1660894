import type { Clock } from "../core/clock.ts";
import { ClockSync } from "./clock_sync.ts";
import {
  DEFAULT_FRAME_LIMITS,
  encodeFrame,
  type FrameLimits,
  FrameParser,
  ProtocolError,
} from "./frame.ts";
import type { Accept, Link, LinkHandler, Traffic } from "./link.ts";
import { type Header, type Kind, PROTOCOL_VERSION } from "./messages.ts";

/** What a connection needs of the network: TCP has it, and so has a pair of pipes in a test. */
export interface ByteStream {
  /** Reads some bytes into `into`; resolves to how many, or null at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes some of the bytes; resolves to how many. */
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

export type Role = "worker" | "controller" | "client";

export interface ConnectionOptions {
  readonly role: Role;
  /** Roles that the peer may have; another is told so and disconnected. */
  readonly peerRoles: readonly Role[];
  /** For people: the peer's address. */
  readonly address: string;
  readonly limits?: FrameLimits;
  /** A peer that lets more than this wait to be read is disconnected. */
  readonly maxQueuedBytes?: number;
  /** How often to send a Ping when the clocks' estimates would go stale; 0 for never. */
  readonly pingPeriodNs?: number;
  /** A peer that sends nothing at all, not even pings, for this long is given up. */
  readonly silenceNs?: number;
}

const DEFAULT_MAX_QUEUED_BYTES = 512 * 2 ** 20;
const DEFAULT_PING_PERIOD_NS = 250_000_000;
const DEFAULT_SILENCE_NS = 30_000_000_000;
/** Frames up to this size are gathered into one write. */
const GATHER_BYTES = 32 * 1024;

/** A link over a stream of bytes. */
export class Connection implements Link {
  readonly sync = new ClockSync();
  readonly traffic: Traffic = {
    sentBytes: 0,
    sentMessages: 0,
    receivedBytes: 0,
    receivedMessages: 0,
  };
  readonly peer: string;

  readonly #stream: ByteStream;
  readonly #clock: Clock;
  readonly #options: ConnectionOptions;
  readonly #parser: FrameParser;
  readonly #accept: Accept;
  readonly #onRefused: (reason: string) => void;
  readonly #maxQueuedBytes: number;
  #handler: LinkHandler | undefined;

  /** Pieces waiting to be written, and what to call once a piece has been. */
  #pieces: Uint8Array[] = [];
  #onSent: ((() => void) | undefined)[] = [];
  #queuedBytes = 0;
  #writing = false;
  #flushScheduled = false;
  readonly #gather = new Uint8Array(GATHER_BYTES);

  /** Why the link is closing or closed; undefined while it is open. */
  #closeReason: string | undefined;
  #ended = false;
  #lastReceivedNs: number;
  #pingTimer: { cancel(): void } | undefined;

  /**
   * `accept` is asked for a handler once the peer has said that it is one we talk to; `onRefused` is
   * told when the link ends before that. Exactly one of them is called.
   */
  constructor(
    stream: ByteStream,
    clock: Clock,
    options: ConnectionOptions,
    accept: Accept,
    onRefused: (reason: string) => void,
  ) {
    this.#stream = stream;
    this.#clock = clock;
    this.#options = options;
    this.#accept = accept;
    this.#onRefused = onRefused;
    this.#parser = new FrameParser(options.limits ?? DEFAULT_FRAME_LIMITS);
    this.#maxQueuedBytes = options.maxQueuedBytes ?? DEFAULT_MAX_QUEUED_BYTES;
    this.#lastReceivedNs = clock.now();
    this.peer = options.address;
  }

  /** Says hello and starts to read. */
  start(): void {
    this.send("Hello", 0, { version: PROTOCOL_VERSION, role: this.#options.role });
    this.#schedulePing();
    this.#readLoop();
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  send<K extends Kind>(
    kind: K,
    id: number,
    header: Header<K>,
    payload: readonly Uint8Array[] = [],
    onSent?: () => void,
  ): void {
    if (this.#closeReason !== undefined) return;
    let payloadBytes = 0;
    for (let i = 0; i < payload.length; i++) payloadBytes += payload[i]!.length;
    const nowNs = this.#clock.now();
    const head = encodeFrame(kind, id, header, payloadBytes, nowNs, this.sync.deltaNs);
    const frameBytes = head.length + payloadBytes;
    if (this.#queuedBytes + frameBytes > this.#maxQueuedBytes) {
      this.#end(`the peer does not read: ${this.#queuedBytes} bytes are waiting to be sent`);
      return;
    }
    this.#push(head);
    for (let i = 0; i < payload.length; i++) if (payload[i]!.length > 0) this.#push(payload[i]!);
    this.#onSent[this.#onSent.length - 1] = onSent;
    this.#queuedBytes += frameBytes;
    this.traffic.sentBytes += frameBytes;
    this.traffic.sentMessages++;
    if (!this.#writing && !this.#flushScheduled) {
      this.#flushScheduled = true;
      queueMicrotask(() => this.#flush());
    }
  }

  close(reason: string): void {
    if (this.#closeReason !== undefined) return;
    this.send("Goodbye", 0, { message: reason.slice(0, 4096) }, [], () => this.#end(reason));
    this.#closeReason ??= reason;
    // A peer that reads nothing must not keep the link open.
    this.#clock.at(this.#clock.now() + 1_000_000_000, () => this.#end(reason));
  }

  #push(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.#onSent.push(undefined);
  }

  /** Writes all that is queued; what is queued meanwhile goes out with the next round. */
  async #flush(): Promise<void> {
    this.#flushScheduled = false;
    if (this.#writing) return;
    this.#writing = true;
    try {
      while (this.#pieces.length > 0 && !this.#ended) {
        const pieces = this.#pieces;
        const onSent = this.#onSent;
        this.#pieces = [];
        this.#onSent = [];
        for (let i = 0; i < pieces.length;) {
          // Neighbouring small pieces leave in one write.
          let end = i;
          let gathered = 0;
          while (end < pieces.length && gathered + pieces[end]!.length <= GATHER_BYTES) {
            gathered += pieces[end]!.length;
            end++;
          }
          let bytes = pieces[i]!;
          if (end > i + 1) {
            let offset = 0;
            for (let k = i; k < end; k++) {
              this.#gather.set(pieces[k]!, offset);
              offset += pieces[k]!.length;
            }
            bytes = this.#gather.subarray(0, offset);
          } else {
            end = i + 1;
          }
          await this.#writeAll(bytes);
          this.#queuedBytes -= bytes.length;
          for (; i < end; i++) onSent[i]?.();
        }
      }
    } catch (error) {
      this.#end(`write failed: ${(error as Error).message}`);
    } finally {
      this.#writing = false;
    }
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    let written = await this.#stream.write(bytes);
    while (written < bytes.length) written += await this.#stream.write(bytes.subarray(written));
  }

  async #readLoop(): Promise<void> {
    try {
      while (!this.#ended) {
        const n = await this.#stream.read(this.#parser.target());
        if (this.#ended) return;
        if (n === null) {
          const how = this.#parser.idle
            ? "closed by the peer"
            : "closed by the peer within a frame";
          this.#end(how);
          return;
        }
        const nowNs = this.#clock.now();
        this.#lastReceivedNs = nowNs;
        this.traffic.receivedBytes += n;
        const frames = this.#parser.advance(n);
        for (let i = 0; i < frames.length && !this.#ended; i++) {
          const { message, sentNs, peerDeltaNs } = frames[i]!;
          this.traffic.receivedMessages++;
          this.sync.observe(sentNs, nowNs, peerDeltaNs);
          if (message.kind === "Ping") continue;
          if (message.kind === "Goodbye") {
            this.#end(`the peer closed: ${message.header.message}`);
            return;
          }
          if (this.#handler !== undefined) {
            // Once closing, what still comes has nobody to go to.
            if (this.#closeReason === undefined) this.#handler.onMessage(message);
          } else if (message.kind === "Hello") {
            this.#greet(message.header);
          } else {
            throw new ProtocolError(`${message.kind} before Hello`);
          }
        }
      }
    } catch (error) {
      if (this.#ended) return;
      if (error instanceof ProtocolError) this.close(`protocol error: ${error.message}`);
      else this.#end(`read failed: ${(error as Error).message}`);
    }
  }

  #greet({ version, role }: Header<"Hello">): void {
    const { peerRoles, role: ours } = this.#options;
    if (version !== PROTOCOL_VERSION) {
      throw new ProtocolError(
        `protocol version ${version} met version ${PROTOCOL_VERSION}: run the same Clockwork on both`,
      );
    }
    if (!peerRoles.includes(role as Role)) {
      throw new ProtocolError(
        `this is a ${ours}, which talks to a ${peerRoles.join(" or ")}, not to a ${
          role.slice(0, 32)
        }`,
      );
    }
    this.#handler = this.#accept(this);
  }

  #schedulePing(): void {
    const periodNs = this.#options.pingPeriodNs ?? DEFAULT_PING_PERIOD_NS;
    if (periodNs === 0) return;
    this.#pingTimer = this.#clock.at(this.#clock.now() + periodNs, () => {
      if (this.#closeReason !== undefined) return;
      const silenceNs = this.#options.silenceNs ?? DEFAULT_SILENCE_NS;
      if (this.#clock.now() - this.#lastReceivedNs > silenceNs) {
        this.#end(`the peer has been silent for ${silenceNs / 1e9} s`);
        return;
      }
      this.send("Ping", 0, {});
      this.#schedulePing();
    });
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#closeReason ??= reason;
    this.#pingTimer?.cancel();
    this.#pieces = [];
    this.#onSent = [];
    this.#queuedBytes = 0;
    this.#stream.close();
    const told = this.#closeReason;
    queueMicrotask(() => {
      if (this.#handler !== undefined) this.#handler.onClose(told);
      else this.#onRefused(told);
    });
  }
}
