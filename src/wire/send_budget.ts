/**
 * Limits the bytes that wait for all peers of a listener together: each peer has its own limit, but there
 * may be thousands.
 */

/** One whose bytes count. */
export interface Debtor {
  readonly queuedBytes: number;
  /** Ends it, which lets what it has queued go. */
  abort(reason: string): void;
}

export class SendBudget {
  readonly #maxBytes: number;
  readonly #debtors = new Set<Debtor>();
  #queuedBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that wait. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** A debtor has queued so many bytes more. When all together have too many, who has most is ended. */
  queued(debtor: Debtor, bytes: number): void {
    this.#debtors.add(debtor);
    this.#queuedBytes += bytes;
    while (this.#queuedBytes > this.#maxBytes) {
      let worst = debtor;
      for (const one of this.#debtors) if (one.queuedBytes > worst.queuedBytes) worst = one;
      if (worst.queuedBytes === 0) return;
      worst.abort(
        `the peer does not read: ${worst.queuedBytes} of the ${this.#maxBytes} bytes that may wait ` +
          "for all peers are its",
      );
    }
  }

  /** So many of a debtor's bytes wait no more. */
  settled(debtor: Debtor, bytes: number): void {
    this.#queuedBytes -= bytes;
    if (debtor.queuedBytes === 0) this.#debtors.delete(debtor);
  }
}
