import { setImmediate } from "node:timers";
import { type Clock, type Timer, US } from "./clock.ts";
import { type TimerMemory, WORD } from "./timer_memory.ts";
import { TimerQueue } from "./timer_queue.ts";

/**
 * How often, in wake-ups, the shortest time from the thread's deadline to the main thread is measured
 * again.
 */
const LEAD_WAKES = 64;
/** A way this long is no property of the machine. */
const MAX_LEAD_NS = 200 * US;

/**
 * The machine's clock. Times count from the start of the process.
 *
 * A thread sleeps until the next call is due and wakes this one, which is late by some 0.1 ms in the
 * median where setTimeout is late by 1 ms. It is told to wake us earlier by as much as it has been late
 * at least of late. The thread is started by the first call of `at`;
 * `close` ends it, and must be called for the process to end by itself.
 */
export class SystemClock implements Clock {
  readonly #queue = new TimerQueue();
  readonly #words = new Int32Array(new SharedArrayBuffer(8));
  readonly #times = new Float64Array(new SharedArrayBuffer(16));
  #thread: Worker | undefined;
  /** What the thread (or a pending setImmediate) will wake us for. */
  #armedNs = Infinity;
  #arming = false;
  /** While due calls are being made: up to when. */
  #firingNs = -Infinity;
  #closed = false;
  /** How much earlier than a call is due the thread is to wake us. */
  #leadNs = 0;
  /** The shortest way from the thread's deadline to here, among so many wake-ups. */
  #shortestNs = MAX_LEAD_NS;
  #wakes = 0;

  now(): number {
    return Math.round(performance.now() * 1e6);
  }

  at(timeNs: number, fn: () => void): Timer {
    if (this.#closed) return { cancel: () => {} };
    // A call for now made by a due call waits for the next turn, or a chain of them would starve I/O.
    // A nanosecond would not do: after 104 days, adding it may leave the number unchanged.
    const dueNs = Math.max(timeNs, this.#firingNs + US);
    const timer = this.#queue.add(dueNs, fn);
    if (dueNs < this.#armedNs && !this.#arming) {
      // At the end of this turn: many a call is cancelled within the turn that asked for it, and to set
      // the thread's deadline costs a system call.
      this.#arming = true;
      queueMicrotask(this.#armNext);
    }
    return timer;
  }

  /** Forgets all pending calls and ends the thread. */
  close(): void {
    this.#closed = true;
    // A thread blocked in Atomics.wait cannot be terminated from outside, so it is told to end.
    this.#times[0] = NaN;
    Atomics.add(this.#words, WORD.command, 1);
    Atomics.notify(this.#words, WORD.command);
    // Lets the pending waitAsync end, which would keep the process alive.
    Atomics.add(this.#words, WORD.wake, 1);
    Atomics.notify(this.#words, WORD.wake);
  }

  readonly #armNext = (): void => {
    this.#arming = false;
    if (this.#closed) return;
    const nextNs = this.#queue.nextDueNs;
    if (nextNs < this.#armedNs) this.#arm(nextNs);
  };

  #arm(timeNs: number): void {
    this.#armedNs = timeNs;
    const nowMs = performance.now();
    const wakeMs = (timeNs - this.#leadNs) / 1e6;
    if (wakeMs <= nowMs) {
      // Due, or so soon that the thread would be late: a few turns are made in vain then.
      setImmediate(this.#onWake);
      return;
    }
    this.#times[0] = wakeMs;
    this.#times[1] = nowMs;
    Atomics.add(this.#words, WORD.command, 1);
    if (this.#thread === undefined) this.#start();
    else Atomics.notify(this.#words, WORD.command);
  }

  #start(): void {
    this.#thread = new Worker(new URL("./timer_thread.ts", import.meta.url), {
      type: "module",
      name: "timer",
    });
    const memory: TimerMemory = {
      words: this.#words.buffer,
      times: this.#times.buffer,
    };
    this.#thread.postMessage(memory);
    this.#listen();
  }

  #listen(): void {
    const seen = Atomics.load(this.#words, WORD.wake);
    const waiting = Atomics.waitAsync(this.#words, WORD.wake, seen);
    // Not async: a wake came between the load and the wait.
    const outcome = waiting.async ? waiting.value : Promise.resolve();
    outcome.then(() => {
      if (this.#closed) return;
      this.#listen();
      this.#learnLead();
      this.#onWake();
    });
  }

  /** By the thread's having woken us for what was armed. */
  #learnLead(): void {
    const wayNs = this.now() - (this.#armedNs - this.#leadNs);
    if (wayNs < this.#shortestNs) this.#shortestNs = wayNs;
    if (++this.#wakes < LEAD_WAKES) return;
    this.#leadNs = Math.max(0, this.#shortestNs);
    this.#shortestNs = MAX_LEAD_NS;
    this.#wakes = 0;
  }

  readonly #onWake = (): void => {
    if (this.#closed) return;
    // Nothing is armed for what the calls add: that is done once, below.
    this.#armedNs = -Infinity;
    this.#firingNs = this.now();
    let fn;
    // One of them may close the clock.
    while (!this.#closed && (fn = this.#queue.takeDue(this.#firingNs)) !== undefined) {
      try {
        fn();
      } catch (error) {
        // A fault in one call must not cost the others theirs.
        reportError(error);
      }
    }
    this.#armedNs = Infinity;
    this.#firingNs = -Infinity;
    // To set the thread's deadline is a system call: what the calls have to send leaves before it.
    this.#arming = true;
    queueMicrotask(this.#armNext);
  };
}
