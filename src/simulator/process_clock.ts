import type { Clock, Timer } from "../core/clock.ts";
import type { LinkHandler } from "../wire/link.ts";

/**
 * A process's clock: while the process stands still, as when its machine is suspended or short of memory,
 * nothing of it is called, and all that was due meanwhile is called one after the other at the end.
 */
export class ProcessClock implements Clock {
  readonly #base: Clock;
  /** What is due; null while the process runs. */
  #due: (() => void)[] | null = null;

  constructor(base: Clock) {
    this.#base = base;
  }

  now(): number {
    return this.#base.now();
  }

  at(timeNs: number, fn: () => void): Timer {
    let cancelled = false;
    const timer = this.#base.at(timeNs, () => {
      if (this.#due === null) fn();
      else {
        this.#due.push(() => {
          if (!cancelled) fn();
        });
      }
    });
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  get asleep(): boolean {
    return this.#due !== null;
  }

  /** Stands still for a while, and no longer than it does already. */
  pause(durationNs: number): void {
    if (this.#due !== null) return;
    const due: (() => void)[] = this.#due = [];
    this.#base.at(this.#base.now() + durationNs, () => {
      if (this.#due !== due) return;
      this.#due = null;
      for (const fn of due) fn();
    });
  }

  /** The process dies: what was due is not called any more. */
  kill(): void {
    this.#due = null;
  }

  /** The handler of a process's link, which is not called while it stands still. */
  handling(handler: LinkHandler): LinkHandler {
    return {
      onMessage: (message) => {
        if (this.#due === null) handler.onMessage(message);
        else this.#due.push(() => handler.onMessage(message));
      },
      onClose: (reason) => {
        if (this.#due === null) handler.onClose(reason);
        else this.#due.push(() => handler.onClose(reason));
      },
    };
  }
}
