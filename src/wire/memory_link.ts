import type { Clock } from "../core/clock.ts";
import { ClockSync } from "./clock_sync.ts";
import { PREFIX_BYTES } from "./frame.ts";
import type { Accept, Link, LinkHandler, Traffic } from "./link.ts";
import type { AnyMessage, Header, Kind } from "./messages.ts";

export interface MemoryLinkOptions {
  /** One-way latency in nanoseconds, on top of the time that the bytes take. */
  readonly latencyNs?: number;
  /** Bytes per second in each direction. */
  readonly bytesPerSecond?: number;
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

/**
 * Two connected links in one process, on a clock that is usually virtual: messages arrive after the
 * time that the network would take, in order.
 */
export function connectInMemory(
  a: MemorySide,
  b: MemorySide,
  options: MemoryLinkOptions = {},
): [Link, Link] {
  const linkA = new MemoryLink(b.name, a.clock, options);
  const linkB = new MemoryLink(a.name, b.clock, options);
  linkA.join(linkB, a.accept(linkA));
  linkB.join(linkA, b.accept(linkB));
  return [linkA, linkB];
}

class MemoryLink implements Link {
  readonly peer: string;
  readonly sync = new ClockSync();
  readonly traffic: Traffic = {
    sentBytes: 0,
    sentMessages: 0,
    receivedBytes: 0,
    receivedMessages: 0,
  };
  queuedBytes = 0;
  readonly #clock: Clock;
  readonly #latencyNs: number;
  readonly #nsPerByte: number;
  #other: MemoryLink | undefined;
  #handler: LinkHandler | undefined;
  /** When the sending side's network is free again. */
  #freeNs = 0;
  #closed = false;

  constructor(peer: string, clock: Clock, options: MemoryLinkOptions) {
    this.peer = peer;
    this.#clock = clock;
    this.#latencyNs = options.latencyNs ?? 0;
    this.#nsPerByte = 1e9 / (options.bytesPerSecond ?? Infinity);
  }

  join(other: MemoryLink, handler: LinkHandler): void {
    this.#other = other;
    this.#handler = handler;
  }

  send<K extends Kind>(
    kind: K,
    id: number,
    header: Header<K>,
    payload: readonly Uint8Array[] = [],
    onSent?: () => void,
  ): void {
    if (this.#closed) return;
    let payloadBytes = 0;
    for (const piece of payload) payloadBytes += piece.length;
    const bytes = PREFIX_BYTES + HEADER_BYTES + payloadBytes;
    this.traffic.sentBytes += bytes;
    this.traffic.sentMessages++;
    this.queuedBytes += bytes;
    const sentNs = this.#clock.now();
    const deltaNs = this.sync.deltaNs;
    this.#freeNs = Math.max(this.#freeNs, sentNs) + Math.round(bytes * this.#nsPerByte);
    this.#clock.at(this.#freeNs, () => {
      this.queuedBytes -= bytes;
      if (!this.#closed) onSent?.();
    });
    const message = { kind, id, header, payload: joinPieces(payload, payloadBytes) } as AnyMessage;
    this.#clock.at(
      this.#freeNs + this.#latencyNs,
      () => this.#other!.#receive(message, bytes, sentNs, deltaNs),
    );
  }

  close(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    const nowNs = this.#clock.now();
    this.#clock.at(nowNs, () => this.#handler!.onClose(reason));
    this.#clock.at(
      Math.max(this.#freeNs, nowNs) + this.#latencyNs,
      () => this.#other!.#closedByPeer(reason),
    );
  }

  #receive(message: AnyMessage, bytes: number, sentNs: number, peerDeltaNs: number): void {
    if (this.#closed) return;
    this.traffic.receivedBytes += bytes;
    this.traffic.receivedMessages++;
    this.sync.observe(sentNs, this.#clock.now(), peerDeltaNs);
    this.#handler!.onMessage(message);
  }

  #closedByPeer(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handler!.onClose(`the peer closed: ${reason}`);
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
