import type { Clock, Timer } from "../core/clock.ts";
import { SECOND } from "../core/clock.ts";
import {
  BUSY_NS,
  type ConnectionOptions,
  DEFAULT_PING_PERIOD_NS,
  DEFAULT_SILENCE_NS,
  IDLE_PING_PERIOD_NS,
  IDLE_SILENCE_NS,
} from "./connection_options.ts";

export interface PulseOptions extends Pick<ConnectionOptions, "pingPeriodNs" | "silenceNs"> {
  /**
   * Whether one side is a client, as far as is known: there may be thousands, and most may have nothing to
   * do.
   */
  readonly withClient: () => boolean;
}

/**
 * When to ping a peer, and when to take it for dead.
 *
 * TCP would notice a peer that is cut off after many minutes only, and once it can be reached again,
 * would send again at intervals that have become as long as it was cut off. So a peer from which nothing
 * comes for a few seconds is given up, and connected to anew. That takes frequent pings: they are sent
 * where there is something to lose, which is where messages go to and fro.
 */
export class Pulse {
  readonly #clock: Clock;
  readonly #options: PulseOptions;
  readonly #onPing: () => void;
  readonly #onDead: (reason: string) => void;
  #timer: Timer | null = null;
  #busyNs: number;
  /** Whether pings are rare now. */
  #idle = false;
  /**
   * Counted in pings, not read from the clock: after a stall of our own, what the peer sent meanwhile has
   * yet to be read.
   */
  #silentNs = 0;

  /** Begins to ping. */
  constructor(
    clock: Clock,
    options: PulseOptions,
    onPing: () => void,
    onDead: (reason: string) => void,
  ) {
    this.#clock = clock;
    this.#options = options;
    this.#onPing = onPing;
    this.#onDead = onDead;
    this.#busyNs = clock.now();
    this.#schedule();
  }

  /** Something has come from the peer. */
  heard(): void {
    this.#silentNs = 0;
  }

  /** Something other than a ping comes or goes. */
  busy(nowNs: number): void {
    this.#busyNs = nowNs;
    if (!this.#idle || this.#timer === null) return;
    // The peer, which sees the same, has had no reason to say anything until now.
    this.#silentNs = 0;
    this.#timer.cancel();
    this.#schedule();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #schedule(): void {
    const { withClient, pingPeriodNs, silenceNs } = this.#options;
    const nowNs = this.#clock.now();
    this.#idle = withClient() && pingPeriodNs === undefined && nowNs - this.#busyNs >= BUSY_NS;
    const periodNs = pingPeriodNs ??
      (this.#idle ? IDLE_PING_PERIOD_NS : DEFAULT_PING_PERIOD_NS);
    const limitNs = silenceNs ?? (this.#idle ? IDLE_SILENCE_NS : DEFAULT_SILENCE_NS);
    this.#timer = this.#clock.at(nowNs + periodNs, () => {
      if (this.#silentNs >= limitNs) {
        return this.#onDead(`the peer has been silent for ${limitNs / SECOND} s`);
      }
      this.#silentNs += periodNs;
      this.#schedule();
      this.#onPing();
    });
  }
}
