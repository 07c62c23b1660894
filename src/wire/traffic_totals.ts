/** Messages and bytes of all links to peers of one kind, including ended ones. */
import type { Traffic } from "./link.ts";

export class TrafficTotals {
  readonly #ended: Traffic = none();

  /** A link has ended. */
  ended(traffic: Readonly<Traffic>): void {
    add(this.#ended, traffic);
  }

  /** The totals, given the links that have not ended. */
  with(open: Iterable<Readonly<Traffic>>): Traffic {
    const totals = { ...this.#ended };
    for (const traffic of open) add(totals, traffic);
    return totals;
  }
}

function none(): Traffic {
  return { sentBytes: 0, sentMessages: 0, receivedBytes: 0, receivedMessages: 0 };
}

function add(totals: Traffic, more: Readonly<Traffic>): void {
  totals.sentBytes += more.sentBytes;
  totals.sentMessages += more.sentMessages;
  totals.receivedBytes += more.receivedBytes;
  totals.receivedMessages += more.receivedMessages;
}
