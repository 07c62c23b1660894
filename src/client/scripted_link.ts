/** For tests: a link whose other end is written out step by step. */
import type { Link, LinkHandler } from "../wire/link.ts";
import { type AnyMessage, checkHeader, type Header, type Kind } from "../wire/messages.ts";
import { ClockSync } from "../wire/clock_sync.ts";
import { VirtualClock } from "../core/virtual_clock.ts";

/** What a client sent. */
export type Sent = AnyMessage & { readonly atNs: number };

export class ScriptedLink implements Link {
  readonly peer = "controller:12346";
  readonly sync = new ClockSync();
  queuedBytes = 0;
  readonly traffic = { sentBytes: 0, sentMessages: 0, receivedBytes: 0, receivedMessages: 0 };
  readonly clock: VirtualClock;
  /** Everything sent, first to last. */
  readonly sent: Sent[] = [];
  /** Why the client closed the link; null while it has not. */
  closedBecause: string | null = null;
  /** Called for each message that the client sends. */
  onSent: (message: Sent) => void = () => {};
  handler: LinkHandler | null = null;

  constructor(clock = new VirtualClock()) {
    this.clock = clock;
  }

  send<K extends Kind>(
    kind: K,
    id: number,
    header: Header<K>,
    payload: readonly Uint8Array[] = [],
    onSent?: () => void,
  ): void {
    if (this.closedBecause !== null) return;
    const message = { ...messageOf(kind, id, header, join(payload)), atNs: this.clock.now() };
    this.sent.push(message);
    this.onSent(message);
    onSent?.();
  }

  close(reason: string): void {
    this.closedBecause ??= reason;
  }

  /** Gives the client a message at once. */
  deliver<K extends Kind>(kind: K, id: number, header: Header<K>, payload?: Uint8Array): void {
    this.handler!.onMessage(messageOf(kind, id, header, payload ?? new Uint8Array()));
  }

  /** Gives the client a message after some time. */
  deliverIn<K extends Kind>(ns: number, kind: K, id: number, header: Header<K>): void {
    this.clock.at(this.clock.now() + ns, () => this.deliver(kind, id, header));
  }

  /** What was sent of one kind. */
  sentOf<K extends Kind>(kind: K): Extract<Sent, { kind: K }>[] {
    return this.sent.filter((message) => message.kind === kind) as Extract<Sent, { kind: K }>[];
  }
}

function messageOf<K extends Kind>(
  kind: K,
  id: number,
  header: Header<K>,
  payload: Uint8Array,
): AnyMessage {
  // A script that breaks the protocol would test nothing.
  return { kind, id, header: checkHeader(kind, header), payload } as AnyMessage;
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const piece of pieces) {
    joined.set(piece, offset);
    offset += piece.length;
  }
  return joined;
}
