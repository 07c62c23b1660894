/** Ctrl-C and its kin, as a request to stop well: a second one ends the process at once. */
const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT"]
  : ["SIGINT", "SIGTERM"];

export class StopSignals {
  readonly #promise = Promise.withResolvers<void>();
  #requested = false;
  readonly #listener = (): void => {
    if (this.#requested) Deno.exit(130);
    this.#requested = true;
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
