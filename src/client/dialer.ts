import type { Timer } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import type { Accept } from "../wire/link.ts";

/** Makes connections to one controller: over TCP in connect.ts, in memory in the simulator. */
export interface Dialer {
  /**
   * Tries once to connect. Later, never within this call, it calls one of the two, once: `accept` with the
   * link, or `failed` with the reason why there is none. After `cancel` it calls neither.
   */
  dial(accept: Accept, failed: (reason: string) => void): Timer;
}

/** How a client connects again when its connection is lost. */
export interface ReconnectOptions {
  readonly dialer: Dialer;
  /** Spreads the attempts of many clients, and makes the keys by which a load that is asked for twice is known. */
  readonly random: Random;
  /** How long to try after a loss, in nanoseconds. */
  readonly limitNs: number;
}
