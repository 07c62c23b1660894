/**
 * One request to stop may bring two signals: one to the process, and one to its group, as `timeout` and
 * terminals send them. What follows so soon is no second request.
 */
const ONE_REQUEST_MS = 300;

/** Ctrl-C and its kin, as a request to stop well: a second one ends the process at once. */
const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT"]
  : ["SIGINT", "SIGTERM"];

export class StopSignals {
  readonly #promise = Promise.withResolvers<void>();
  #requested = false;
  #requestedMs = 0;
  readonly #listener = (): void => {
    const nowMs = performance.now();
    if (this.#requested) {
      if (nowMs - this.#requestedMs > ONE_REQUEST_MS) Deno.exit(130);
      return;
    }
    this.#requested = true;
    this.#requestedMs = nowMs;
    this.#promise.resolve();
  };

  constructor() {
    for (const signal of SIGNALS) Deno.addSignalListener(signal, this.#listener);
  }

  get requested(): boolean {
    return this.#requested;
  }

  /** Resolves at the first signal. */
  get stopped(): Promise<void> {
    return this.#promise.promise;
  }

  /** Gives the signals back to the system. */
  close(): void {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, this.#listener);
  }
}
