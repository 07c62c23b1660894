/**
 * A single request to stop may deliver the same signal twice, once to the process and once to its group, as
 * `timeout` does. A repeat within this time is not a second request.
 */
const ONE_REQUEST_MS = 300;

/** Ctrl-C and its kin, as a request to stop well: a second one ends the process at once. */
const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT"]
  : ["SIGINT", "SIGTERM"];

export class StopSignals {
  readonly #promise = Promise.withResolvers<void>();
  /** The first signal, and when it came. */
  #first: { readonly signal: Deno.Signal; readonly atMs: number } | null = null;
  readonly #listeners = SIGNALS.map((signal) => [signal, () => this.#onSignal(signal)] as const);

  constructor() {
    for (const [signal, listener] of this.#listeners) Deno.addSignalListener(signal, listener);
  }

  get requested(): boolean {
    return this.#first !== null;
  }

  /** Resolves at the first signal. */
  get stopped(): Promise<void> {
    return this.#promise.promise;
  }

  /** Gives the signals back to the system. */
  close(): void {
    for (const [signal, listener] of this.#listeners) Deno.removeSignalListener(signal, listener);
  }

  #onSignal(signal: Deno.Signal): void {
    const nowMs = performance.now();
    if (this.#first === null) {
      this.#first = { signal, atMs: nowMs };
      this.#promise.resolve();
    } else if (signal !== this.#first.signal || nowMs - this.#first.atMs > ONE_REQUEST_MS) {
      Deno.exit(130);
    }
  }
}
