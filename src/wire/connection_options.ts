/** Options of a connection, and their defaults. */
import { MS, SECOND } from "../core/clock.ts";
import type { Access } from "./access.ts";
import type { FrameLimits } from "./frame.ts";
import type { Role } from "./roles.ts";
import type { SendBudget } from "./send_budget.ts";

export interface ConnectionOptions {
  readonly role: Role;
  /** Roles that the peer may have; another is told so and disconnected. */
  readonly peerRoles: readonly Role[];
  /**
   * Says Hello only once the peer's has been found to be right, as the side that was connected to does: a
   * peer that is refused then knows that it was never served.
   */
  readonly helloLast?: boolean;
  /** Said to the peer, which may ask for it. Only to peers that were connected to: others could collect it. */
  readonly token?: string;
  /** Whom to serve, by the token in its Hello; by default anyone. */
  readonly access?: Access;
  /** For people: the peer's address. */
  readonly address: string;
  readonly limits?: FrameLimits;
  /** Instead of `limits`, what a peer of this role may send. */
  readonly limitsOf?: (peer: Role) => FrameLimits;
  /** A peer that lets more than this wait to be read is disconnected. */
  readonly maxQueuedBytes?: number;
  /** As `maxQueuedBytes`, for all connections that share it. */
  readonly sendBudget?: SendBudget;
  /**
   * How often to send a Ping, so that neither clock estimates nor the peer's trust go stale. By default it
   * depends on the peer: there may be thousands of clients that do nothing.
   */
  readonly pingPeriodNs?: number;
  /** A peer that sends nothing at all, not even pings, for this long is given up. */
  readonly silenceNs?: number;
  /** A peer that has not said Hello this long after `start` is given up. */
  readonly helloNs?: number;
  /** A peer that has begun a message and not ended it this long after is given up. */
  readonly messageNs?: number;
  /** A client to and from which nothing but pings has gone for this long is told to leave; by default never. */
  readonly idleNs?: number;
  /** Told when our own handler, or an `onSent`, threw. By default the error is printed. */
  readonly onFault?: (error: unknown) => void;
}

export const DEFAULT_MAX_QUEUED_BYTES = 512 * 2 ** 20;
export const DEFAULT_PING_PERIOD_NS = 250 * MS;
/** Between clients and controllers that have nothing else to say to each other. */
export const IDLE_PING_PERIOD_NS = 5 * SECOND;
/** Clients and controllers are idle when they have said nothing else for this long. */
export const BUSY_NS = 5 * SECOND;
export const DEFAULT_SILENCE_NS = 3 * SECOND;
/** Of those that ping every {@link IDLE_PING_PERIOD_NS}. */
export const IDLE_SILENCE_NS = 30 * SECOND;
export const DEFAULT_HELLO_NS = 10 * SECOND;
/** Enough for the largest message over 20 Mbit/s. */
export const DEFAULT_MESSAGE_NS = 120 * SECOND;
