/** Counts of what a worker does, for the line that it prints every 10 s. */
import type { ActionKind } from "../wire/describe.ts";
import type { ClockSync } from "../wire/clock_sync.ts";

export class Activity {
  /** Actions that have arrived and not ended. */
  pending = 0;
  #loads = 0;
  #infers = 0;
  #evicts = 0;
  #errors = 0;

  /** Counts an action that ended well. */
  succeeded(kind: ActionKind): void {
    if (kind === "Infer") this.#infers++;
    else if (kind === "LoadWeights") this.#loads++;
    else if (kind === "EvictWeights") this.#evicts++;
  }

  failed(): void {
    this.#errors++;
  }

  /**
   * The line for the period since the last call.
   *
   * @param sync what is known of the controller's clock and of the network to it.
   */
  takeLine(sync: ClockSync): string {
    const line = `Clock Skew=${Math.round(sync.offsetNs)}  RTT=${Math.round(sync.rttNs)}  ` +
      `LdWts=${this.#loads}  Inf=${this.#infers}  Evct=${this.#evicts}  ` +
      `|| Total Pending=${this.pending}  Errors=${this.#errors}`;
    this.#loads =
      this.#infers =
      this.#evicts =
      this.#errors =
        0;
    return line;
  }
}

/** Lets the first few different errors of a period be printed: a flood of them would hide the rest. */
export class ErrorDigest {
  readonly #limit: number;
  readonly #seen = new Set<string>();

  /** @param limit how many different errors to print in a period. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether to print this error; `key` is the same for errors that are alike. */
  admit(key: string): boolean {
    if (this.#seen.has(key) || this.#seen.size >= this.#limit) return false;
    this.#seen.add(key);
    return true;
  }

  nextPeriod(): void {
    this.#seen.clear();
  }
}
