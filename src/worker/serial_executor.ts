/**
 * Runs actions one at a time, in the order of their earliest start, each inside its window.
 *
 * An action waits until its earliest start. When its latest start passes while it waits, it is
 * rejected at that moment, however busy the engine is: the controller learns at once that its
 * prediction was wrong. One timer serves the whole queue, and none is set when an action can start on
 * arrival.
 */
import type { Clock, Timer } from "../core/clock.ts";
import { ActionStatus } from "../core/status.ts";
import type { Action, Engine } from "./action.ts";
import { IndexedHeap } from "../core/indexed_heap.ts";

export class SerialExecutor implements Engine {
  readonly #clock: Clock;
  readonly #name: string;
  readonly #maxQueued: number;
  /** The same waiting actions, by the order in which they start and by when they expire. */
  readonly #toStart: IndexedHeap<Action>;
  readonly #toExpire: IndexedHeap<Action>;
  #running: Action | null = null;
  #arrivals = 0;
  #pumping = false;
  #closed = false;
  #timer: Timer | null = null;
  #timerNs = Infinity;

  /**
   * @param name for people, e.g. "GPU 0 execution".
   * @param maxQueued how many actions may wait; more are refused.
   */
  constructor(clock: Clock, name: string, maxQueued: number) {
    this.#clock = clock;
    this.#name = name;
    this.#maxQueued = maxQueued;
    this.#toStart = new IndexedHeap<Action>(
      (a, b) =>
        a.earliestNs < b.earliestNs || (a.earliestNs === b.earliestNs && a.sequence < b.sequence),
      (action, index) => action.startIndex = index,
    );
    this.#toExpire = new IndexedHeap<Action>(
      (a, b) => a.latestNs < b.latestNs,
      (action, index) => action.expiryIndex = index,
    );
  }

  /** Actions that wait; the running one is not among them. */
  get queued(): number {
    return this.#toStart.size;
  }

  get busy(): boolean {
    return this.#running !== null;
  }

  add(action: Action): void {
    const nowNs = this.#clock.now();
    if (this.#closed) {
      action.fail(ActionStatus.shuttingDown, "the worker is shutting down");
      return;
    }
    if (nowNs > action.latestNs) {
      action.failTooLate(nowNs);
      return;
    }
    const idle = this.#running === null && this.#toStart.size === 0 && !this.#pumping;
    if (idle && action.earliestNs <= nowNs) {
      this.#run(action, nowNs);
      return;
    }
    if (this.#toStart.size >= this.#maxQueued) {
      action.fail(
        ActionStatus.cancelled,
        `${this.#name} already has ${this.#maxQueued} actions waiting; send actions later or ` +
          "raise max_queued_actions in the worker's configuration",
      );
      return;
    }
    action.sequence = this.#arrivals++;
    this.#toStart.add(action);
    this.#toExpire.add(action);
    this.#pump();
  }

  release(action: Action): void {
    if (this.#running !== action) return;
    this.#running = null;
    this.#pump();
  }

  /** Ends the waiting actions of which `which` is true without a result. */
  abandon(which: (action: Action) => boolean): void {
    for (const action of this.#toStart.items().filter(which)) {
      this.#remove(action);
      action.abandon();
    }
  }

  /** Rejects what waits, and everything that comes later. What runs is left to end. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = null;
    for (const action of [...this.#toStart.items()]) {
      this.#remove(action);
      action.fail(ActionStatus.shuttingDown, "the worker is shutting down");
    }
  }

  /** Ends the running action, for a backend that did not do so when it was closed. */
  failRunning(): void {
    this.#running?.fail(ActionStatus.shuttingDown, "the worker is shutting down");
  }

  #remove(action: Action): void {
    this.#toStart.remove(action.startIndex);
    this.#toExpire.remove(action.expiryIndex);
  }

  #run(action: Action, nowNs: number): void {
    this.#running = action;
    try {
      action.start(nowNs, this);
    } catch (error) {
      action.failWith(error);
      this.release(action);
    }
  }

  /** Starts what can start. A loop, since an action may end within its own start. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      for (;;) {
        const first = this.#toStart.first;
        if (first === undefined || this.#running !== null) break;
        const nowNs = this.#clock.now();
        if (first.earliestNs > nowNs) break;
        this.#remove(first);
        if (nowNs > first.latestNs) first.failTooLate(nowNs);
        else this.#run(first, nowNs);
      }
    } finally {
      this.#pumping = false;
    }
    this.#setTimer();
  }

  #expire(): void {
    const nowNs = this.#clock.now();
    for (;;) {
      const first = this.#toExpire.first;
      if (first === undefined || nowNs <= first.latestNs) break;
      this.#remove(first);
      first.failTooLate(nowNs);
    }
  }

  /**
   * Sees to it that the timer comes no later than it must. One that comes too early is left alone:
   * under load each action would otherwise set and cancel its own.
   */
  #setTimer(): void {
    const first = this.#toStart.first;
    if (first === undefined) return;
    // An action may still start at its latest start itself; it is late one nanosecond after.
    let dueNs = this.#toExpire.first!.latestNs + 1;
    if (this.#running === null) dueNs = Math.min(dueNs, first.earliestNs);
    if (dueNs >= this.#timerNs) return;
    this.#timer?.cancel();
    this.#timerNs = dueNs;
    this.#timer = this.#clock.at(dueNs, this.#onTimer);
  }

  readonly #onTimer = (): void => {
    this.#timer = null;
    this.#timerNs = Infinity;
    this.#expire();
    this.#pump();
  };
}
