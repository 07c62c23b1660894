/** Something on an emulated GPU that takes known times, such as its execution or its transfers. */
import type { Clock, Timer } from "../../core/clock.ts";
import type { Span } from "../backend.ts";

export class EmulatedEngine {
  readonly #clock: Clock;
  #timer: Timer | null = null;
  #beginNs = 0;
  #endNs = 0;
  #done: ((span: Span | null) => void) | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Is busy for `durationNs` from now, then calls `done` with exactly that span: a clock that wakes us
   * late makes `done` late, not the emulated GPU slow. `done(null)` means that it was stopped.
   */
  run(durationNs: number, done: (span: Span | null) => void): void {
    if (this.#done !== null) throw new Error("the emulated engine is busy");
    this.#done = done;
    this.#beginNs = this.#clock.now();
    this.#endNs = this.#beginNs + durationNs;
    this.#timer = this.#clock.at(this.#endNs, this.#onEnd);
  }

  stop(): void {
    const done = this.#done;
    if (done === null) return;
    this.#timer?.cancel();
    this.#done = null;
    done(null);
  }

  readonly #onEnd = (): void => {
    const done = this.#done!;
    // Before the call: it may begin the next run.
    this.#done = null;
    done({ beginNs: this.#beginNs, endNs: this.#endNs });
  };
}
