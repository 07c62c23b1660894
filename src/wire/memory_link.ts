import type { Clock } from "../core/clock.ts";
import { ClockSync } from "./clock_sync.ts";
import { PREFIX_BYTES } from "./frame.ts";
import type { Accept, Link, LinkHandler, Traffic } from "./link.ts";
import type { AnyMessage, Header, Kind } from "./messages.ts";

/** Properties of the network between two nodes. They are read for each message, so they may change. */
export interface MemoryLinkOptions {
  /** One-way latency in nanoseconds, on top of the time that the bytes take. */
  readonly latencyNs?: number;
  /** Bytes per second in each direction. */
  readonly bytesPerSecond?: number;
  /** Further delay of one message in nanoseconds, e.g. jitter. Messages stay in order. */
  readonly extraDelayNs?: () => number;
}

/** One side of the link as its owner sees the world: who it is, its clock, its handler. */
export interface MemorySide {
  /** How the other side names this one. */
  readonly name: string;
  /** All sides' clocks must run at the same speed; their origins may differ. */
  readonly clock: Clock;
  readonly accept: Accept;
}

/** Bytes that a header takes, about; exact sizes would cost an encoding a message. */
const HEADER_BYTES = 100;

/** A link in memory, which can also break. */
export interface BreakableLink extends Link {
  /**
   * Breaks the connection as a crash of either node would: what is under way is lost, and both sides
   * learn of it after the latency.
   */
  cut(): void;
}

/**
 * Two connected links in one process, on a clock that is usually virtual: messages arrive after the
 * time that the network would take, in order. A payload of one piece is handed over as it is, so the
 * receiver must not change it if the sender still uses it.
 *
 * What a handler throws leaves through the clock, so that a simulation fails where the fault is.
 */
export function connectInMemory(
  a: MemorySide,
  b: MemorySide,
  options: MemoryLinkOptions = {},
): [BreakableLink, BreakableLink] {
  const linkA = new MemoryLink(b.name, a.clock, options);
  const linkB = new MemoryLink(a.name, b.clock, options);
  linkA.join(linkB, a.accept(linkA));
  linkB.join(linkA, b.accept(linkB));
  return [linkA, linkB];
}

class MemoryLink implements BreakableLink {
  readonly peer: string;
  readonly sync = new ClockSync();
  readonly traffic: Traffic = {
    sentBytes: 0,
    sentMessages: 0,
    receivedBytes: 0,
    receivedMessages: 0,
  };
  readonly #clock: Clock;
  readonly #network: MemoryLinkOptions;
  #other: MemoryLink | undefined;
  #handler: LinkHandler | undefined;
  /** When the sending side's network is free again. */
  #freeNs = -Infinity;
  /** When the last message arrives; none after it arrives before. */
  #lastArrivalNs = -Infinity;
  /** Why this side closed; undefined while it has not. */
  #closeReason: string | undefined;
  #ended = false;
  /** Set once nothing can come out of either end any more, even if it was under way. */
  #cut = false;

  constructor(peer: string, clock: Clock, options: MemoryLinkOptions) {
    this.peer = peer;
    this.#clock = clock;
    this.#network = options;
  }

  get #latencyNs(): number {
    return this.#network.latencyNs ?? 0;
  }

  get #nsPerByte(): number {
    return 1e9 / (this.#network.bytesPerSecond ?? Infinity);
  }

  join(other: MemoryLink, handler: LinkHandler): void {
    this.#other = other;
    this.#handler = handler;
  }

  get queuedBytes(): number {
    if (this.#ended || this.#nsPerByte === 0) return 0;
    return Math.max(0, Math.ceil((this.#freeNs - this.#clock.now()) / this.#nsPerByte));
  }

  send<K extends Kind>(
    kind: K,
    id: number,
    header: Header<K>,
    payload: readonly Uint8Array[] = [],
    onSent?: () => void,
  ): void {
    if (this.#ended || this.#closeReason !== undefined) return;
    let payloadBytes = 0;
    for (const piece of payload) payloadBytes += piece.length;
    const bytes = PREFIX_BYTES + HEADER_BYTES + payloadBytes;
    this.traffic.sentBytes += bytes;
    this.traffic.sentMessages++;
    const sentNs = this.#clock.now();
    const deltaNs = this.sync.deltaNs;
    this.#freeNs = Math.max(this.#freeNs, sentNs) + Math.round(bytes * this.#nsPerByte);
    if (onSent !== undefined) {
      this.#clock.at(this.#freeNs, () => {
        if (!this.#ended) onSent();
      });
    }
    const message = { kind, id, header, payload: joinPieces(payload, payloadBytes) } as AnyMessage;
    this.#clock.at(
      this.#arrivalOf(this.#freeNs),
      () => this.#other!.#receive(message, bytes, sentNs, deltaNs),
    );
  }

  /** When what leaves at `sentNs` arrives. */
  #arrivalOf(sentNs: number): number {
    const extraNs = this.#network.extraDelayNs?.() ?? 0;
    this.#lastArrivalNs = Math.max(this.#lastArrivalNs, sentNs + this.#latencyNs + extraNs);
    return this.#lastArrivalNs;
  }

  close(reason: string): void {
    if (this.#ended || this.#closeReason !== undefined) return;
    this.#closeReason = reason;
    const sentNs = Math.max(this.#freeNs, this.#clock.now());
    this.#clock.at(sentNs, () => this.#end(reason));
    this.#clock.at(this.#arrivalOf(sentNs), () => this.#other!.#closedByPeer(reason));
  }

  cut(): void {
    const other = this.#other!;
    if (this.#cut) return;
    this.#cut = other.#cut = true;
    this.#clock.at(this.#clock.now() + this.#latencyNs, () => {
      this.#end("connection lost");
      other.#end("connection lost");
    });
  }

  #receive(message: AnyMessage, bytes: number, sentNs: number, peerDeltaNs: number): void {
    if (this.#ended || this.#cut || this.#closeReason !== undefined) return;
    this.traffic.receivedBytes += bytes;
    this.traffic.receivedMessages++;
    this.sync.observe(sentNs, this.#clock.now(), peerDeltaNs);
    this.#handler!.onMessage(message);
  }

  #closedByPeer(reason: string): void {
    // A link that was cut has lost the goodbye as well.
    if (!this.#cut) this.#end(`the peer closed: ${reason}`);
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#handler!.onClose(this.#closeReason ?? reason);
  }
}

function joinPieces(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const joined = new Uint8Array(bytes);
  let offset = 0;
  for (const piece of pieces) {
    joined.set(piece, offset);
    offset += piece.length;
  }
  return joined;
}
