/**
 * A two-way channel of messages to one peer: over TCP in production, in memory in the simulator.
 */
import type { ClockSync } from "./clock_sync.ts";
import type { AnyMessage, Header, Kind } from "./messages.ts";

/** What a link tells its owner. */
export interface LinkHandler {
  /**
   * A message came. It has been checked against its schema; nothing is known of its meaning.
   * The payload belongs to the handler.
   */
  onMessage(message: AnyMessage): void;
  /** The link is gone, for the reason given; called once, never from within `send` or `close`. */
  onClose(reason: string): void;
}

export interface Link {
  /** Who is at the other end, for people: its address. */
  readonly peer: string;
  /** What is known of the peer's clock and of the network between. */
  readonly sync: ClockSync;
  /** Bytes accepted by `send` and not yet handed to the network. */
  readonly queuedBytes: number;
  /** Messages and bytes so far. */
  readonly traffic: Readonly<Traffic>;
  /**
   * Queues a message; never blocks. On a closed link it does nothing: `onClose` has told, or will.
   * `payload` must not be changed afterwards. `onSent` is called when the network has taken it all.
   */
  send<K extends Kind>(
    kind: K,
    id: number,
    header: Header<K>,
    payload?: readonly Uint8Array[],
    onSent?: () => void,
  ): void;
  /** Closes after what is queued has been sent, telling the peer why. */
  close(reason: string): void;
}

export interface Traffic {
  sentBytes: number;
  sentMessages: number;
  receivedBytes: number;
  receivedMessages: number;
}

/** How a side gets its links: each accepted or made link asks for a handler. */
export type Accept = (link: Link) => LinkHandler;
