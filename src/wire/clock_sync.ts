/**
 * Estimates the peer's clock from the send timestamps of its messages.
 *
 * A message sent at s (sender's clock) and received at r (receiver's clock) shows the delta
 * r - s = offset + one-way delay. The smallest delta of the last {@link WINDOW} messages, and of no
 * more than {@link WINDOW_NS}, is the one least delayed; older ones are forgotten because clocks drift:
 * two that differ by 50 ppm are 0.5 ms further apart after ten seconds. Each side tells the other its
 * smallest delta; with `in` ours and `out` theirs, out = delay - offset and in = delay + offset, if the
 * fastest message takes equally long both ways:
 *
 *     offset = (in - out) / 2,    RTT = in + out.
 */

import { SECOND } from "../core/clock.ts";

/** How many messages the smallest delta is taken from. */
export const WINDOW = 1024;
/** How far back they may have come, in nanoseconds. */
export const WINDOW_NS = 10 * SECOND;

export class ClockSync {
  /** Deltas in arrival order whose values ascend: the first is the smallest of the window. */
  readonly #deltas = new Float64Array(WINDOW);
  readonly #arrivals = new Float64Array(WINDOW);
  readonly #receivedNs = new Float64Array(WINDOW);
  #head = 0;
  #length = 0;
  #received = 0;
  #peerDeltaNs = NaN;

  /** Takes note of a message that says `sentNs`, and the peer's own smallest delta (NaN: unknown). */
  observe(sentNs: number, receivedNs: number, peerDeltaNs: number): void {
    const delta = receivedNs - sentNs;
    const arrival = this.#received++;
    while (
      this.#length > 0 && (this.#arrivals[this.#head]! <= arrival - WINDOW ||
        this.#receivedNs[this.#head]! < receivedNs - WINDOW_NS)
    ) this.#dropOldest();
    while (this.#length > 0 && this.#deltas[this.#slot(this.#length - 1)]! >= delta) this.#length--;
    const slot = this.#slot(this.#length++);
    this.#deltas[slot] = delta;
    this.#arrivals[slot] = arrival;
    this.#receivedNs[slot] = receivedNs;
    if (!Number.isNaN(peerDeltaNs)) this.#peerDeltaNs = peerDeltaNs;
  }

  /** Our smallest delta, to be told to the peer; NaN before the first message. */
  get deltaNs(): number {
    return this.#length === 0 ? NaN : this.#deltas[this.#head]!;
  }

  /** Whether both directions have been measured. Until then offset and RTT read as 0. */
  get known(): boolean {
    return !Number.isNaN(this.#peerDeltaNs);
  }

  /** Our clock less the peer's, in nanoseconds. */
  get offsetNs(): number {
    return this.known ? (this.deltaNs - this.#peerDeltaNs) / 2 : 0;
  }

  /** Round-trip time of the fastest messages, in nanoseconds. */
  get rttNs(): number {
    return this.known ? Math.max(0, this.deltaNs + this.#peerDeltaNs) : 0;
  }

  /** The time in our clock at which the peer's clock shows `peerNs`. */
  toLocal(peerNs: number): number {
    return peerNs + this.offsetNs;
  }

  #slot(index: number): number {
    return (this.#head + index) % WINDOW;
  }

  #dropOldest(): void {
    this.#head = (this.#head + 1) % WINDOW;
    this.#length--;
  }
}
