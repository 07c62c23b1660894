import { type Clock, MS, SECOND, type Timer } from "../core/clock.ts";
import type { Accept } from "../wire/link.ts";
import type { ReconnectOptions } from "./dialer.ts";

/** Pause before the first attempt to reconnect, doubled after each failure, and its upper limit. */
const FIRST_PAUSE_NS = 25 * MS;
const LAST_PAUSE_NS = 400 * MS;

/** Connects again after a loss: with growing pauses, for a limited time. */
export class Redial {
  readonly #clock: Clock;
  readonly #options: ReconnectOptions;
  readonly #accept: Accept;
  readonly #onGiveUp: (reason: string) => void;
  /** The pause or the attempt under way. */
  #current: Timer | null = null;
  #pauseNs = FIRST_PAUSE_NS;
  #giveUpNs = Infinity;
  #lostBecause = "";

  /** `onGiveUp` is told why the connection was lost, and why it could not be made again. */
  constructor(
    clock: Clock,
    options: ReconnectOptions,
    accept: Accept,
    onGiveUp: (reason: string) => void,
  ) {
    this.#clock = clock;
    this.#options = options;
    this.#accept = accept;
    this.#onGiveUp = onGiveUp;
  }

  /** Begins to try: the connection was lost, for the reason given. */
  start(lostBecause: string): void {
    this.#lostBecause = lostBecause;
    this.#giveUpNs = this.#clock.now() + this.#options.limitNs;
    this.#pause();
  }

  /** The connection has proved good: the next loss is not one in a row. */
  succeeded(): void {
    this.#pauseNs = FIRST_PAUSE_NS;
  }

  stop(): void {
    this.#current?.cancel();
    this.#current = null;
  }

  #pause(): void {
    // Not all at the same time, as clients that were cut off together would come back together.
    const pauseNs = this.#pauseNs * (0.5 + this.#options.random.float());
    this.#pauseNs = Math.min(2 * this.#pauseNs, LAST_PAUSE_NS);
    this.#current = this.#clock.at(this.#clock.now() + pauseNs, () => this.#attempt());
  }

  #attempt(): void {
    this.#current = this.#options.dialer.dial(
      (link) => {
        this.#current = null;
        return this.#accept(link);
      },
      (reason) => {
        if (this.#clock.now() < this.#giveUpNs) return this.#pause();
        this.#current = null;
        const { limitNs } = this.#options;
        const tried = `it could not be made again within ${limitNs / SECOND} s: ${reason}`;
        this.#onGiveUp(`${this.#lostBecause}; ${tried}`);
      },
    );
  }
}
