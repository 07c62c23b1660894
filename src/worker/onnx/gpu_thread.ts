/**
 * The backend's end of a GPU thread: calls with callbacks, translation of times to the process's clock, and
 * detection of threads that no longer answer.
 */
import { type Clock, SECOND, type Timer } from "../../core/clock.ts";
import { ActionStatus } from "../../core/status.ts";
import { type Done, type Failure, isFailure, type Span } from "../backend.ts";
import type {
  AdapterSurvey,
  DeviceInfo,
  DeviceTarget,
  FromThread,
  OpenRequest,
  OperationName,
  Operations,
  ThreadSpan,
} from "./protocol.ts";
import { originOffsetNs, threadOffsetNs, type TimeSample } from "./thread_time.ts";

/** A driver that has not answered after this time will not. */
const OPEN_TIMEOUT_NS = 60 * SECOND;
/** How often it is checked whether calls are overdue. */
const WATCH_PERIOD_NS = SECOND / 4;
const TIME_SAMPLES = 10;

/** How long the thread may take before it is taken for hung and ended, in nanoseconds. */
export interface ThreadTimeouts {
  /** For a model's load. */
  readonly loadNs: number;
  /** For any other call; it does not count while a load keeps the thread busy. */
  readonly callNs: number;
}

/** Of threads that have a time limit of their own. */
const NO_TIMEOUTS: ThreadTimeouts = { loadNs: Infinity, callNs: Infinity };

interface Pending {
  readonly op: OperationName;
  readonly sentNs: number;
  readonly done: Done<Operations[OperationName]["reply"]>;
}

function isLoad(op: OperationName): boolean {
  return op === "load" || op === "reference";
}

export class GpuThread {
  readonly #clock: Clock;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #timeouts: ThreadTimeouts;
  readonly #onLost: (reason: string) => void;
  #watch: Timer | null = null;
  #loads = 0;
  /** When the thread was last known not to be busy with a load. */
  #freeSinceNs = 0;
  #seq = 0;
  #offsetNs = 0;
  /** Set once no answer can come any more. */
  #ended: Failure | undefined;

  private constructor(
    clock: Clock,
    timeouts: ThreadTimeouts,
    onLost: (reason: string) => void,
  ) {
    this.#clock = clock;
    this.#timeouts = timeouts;
    this.#onLost = onLost;
    this.#worker = new Worker(new URL("./thread.ts", import.meta.url), {
      type: "module",
      name: "gpu",
    });
    this.#worker.onmessage = (event: MessageEvent<FromThread>) => this.#receive(event.data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#lose(`its thread ended: ${event.message}`);
    };
  }

  /**
   * Starts a thread and opens a device in it.
   *
   * @throws {Error} whose message says why there is no such device.
   */
  static async open(
    clock: Clock,
    request: OpenRequest,
    timeouts: ThreadTimeouts,
    onLost: (reason: string) => void,
  ): Promise<{ thread: GpuThread; info: DeviceInfo }> {
    let opened = false;
    const thread = new GpuThread(clock, timeouts, (reason) => {
      // Before it was opened, the failure of the call says so.
      if (opened) onLost(reason);
    });
    const timer = clock.at(clock.now() + OPEN_TIMEOUT_NS, () => thread.close("it did not answer"));
    try {
      const info = await thread.#ask("open", request);
      await thread.#synchronize();
      opened = true;
      return { thread, info };
    } catch (error) {
      thread.close("it could not be opened");
      throw error;
    } finally {
      timer.cancel();
    }
  }

  /** Names of Dawn's adapters, found in a thread of its own; throws when there is no Dawn. */
  static async listAdapters(clock: Clock): Promise<readonly string[]> {
    return (await GpuThread.#askOnce(clock, "adapters", {})).names;
  }

  /** What an adapter can do, found in a thread of its own; throws when there is none. */
  static survey(clock: Clock, target: DeviceTarget): Promise<AdapterSurvey> {
    return GpuThread.#askOnce(clock, "survey", { target });
  }

  /** Has a thread of its own answer one question. */
  static async #askOnce<K extends "adapters" | "survey">(
    clock: Clock,
    op: K,
    request: Operations[K]["request"],
  ): Promise<Operations[K]["reply"]> {
    const thread = new GpuThread(clock, NO_TIMEOUTS, () => {});
    const timer = clock.at(clock.now() + OPEN_TIMEOUT_NS, () => thread.close("it did not answer"));
    try {
      return await thread.#ask(op, request);
    } finally {
      timer.cancel();
      thread.close("it has answered");
    }
  }

  /** Calls `done` once, with the reply or what went wrong. */
  call<K extends OperationName>(
    op: K,
    request: Operations[K]["request"],
    transfer: readonly ArrayBuffer[],
    done: Done<Operations[K]["reply"]>,
  ): void {
    if (this.#ended !== undefined) {
      done(this.#ended);
      return;
    }
    const seq = this.#seq++;
    // The thread answers each operation with its own kind of reply.
    this.#pending.set(seq, { op, sentNs: this.#clock.now(), done: done as Pending["done"] });
    if (isLoad(op)) this.#loads++;
    this.#watch ??= this.#clock.at(this.#clock.now() + WATCH_PERIOD_NS, this.#onWatch);
    this.#worker.postMessage({ seq, op, ...request }, [...transfer]);
  }

  /**
   * A span of the thread's in the clock's time. It is kept within the call that it belongs to, which
   * the error of the translation might leave by some microseconds.
   */
  span({ beginMs, endMs }: ThreadSpan, callNs: number): Span {
    const nowNs = this.#clock.now();
    const beginNs = Math.min(Math.max(this.#toNs(beginMs), callNs), nowNs);
    return { beginNs, endNs: Math.min(Math.max(this.#toNs(endMs), beginNs), nowNs) };
  }

  /** Ends the thread; outstanding calls fail. */
  close(why: string): void {
    this.#end({ status: ActionStatus.shuttingDown, message: why });
  }

  #toNs(threadMs: number): number {
    return Math.round(threadMs * 1e6) + this.#offsetNs;
  }

  #receive(message: FromThread): void {
    if ("lost" in message) {
      this.#lose(message.lost);
      return;
    }
    const pending = this.#pending.get(message.seq);
    if (pending === undefined) return;
    this.#forget(message.seq, pending);
    pending.done(
      "reply" in message ? message.reply : { status: message.status, message: message.message },
    );
  }

  #forget(seq: number, { op }: Pending): void {
    this.#pending.delete(seq);
    if (!isLoad(op)) return;
    this.#loads--;
    this.#freeSinceNs = this.#clock.now();
  }

  readonly #onWatch = (): void => {
    this.#watch = null;
    if (this.#ended !== undefined || this.#pending.size === 0) return;
    const nowNs = this.#clock.now();
    for (const [seq, pending] of this.#pending) {
      const { op, sentNs, done } = pending;
      // Loads of a thread come one after the other, and one that is late delays the rest.
      const sinceNs = Math.max(sentNs, this.#freeSinceNs);
      const limitNs = isLoad(op) ? this.#timeouts.loadNs : this.#timeouts.callNs;
      if (
        op === "open" || op === "adapters" || op === "survey" || (!isLoad(op) && this.#loads > 0) ||
        nowNs - sinceNs <= limitNs
      ) continue;
      const why = `${op} took longer than ${limitNs / SECOND} s`;
      this.#forget(seq, pending);
      this.#lose(why);
      done({ status: ActionStatus.runtimeError, message: `${why}, and was ended` });
      return;
    }
    this.#watch = this.#clock.at(nowNs + WATCH_PERIOD_NS, this.#onWatch);
  };

  #lose(reason: string): void {
    if (this.#ended !== undefined) return;
    this.#ended = { status: ActionStatus.runtimeError, message: `the GPU is lost: ${reason}` };
    // Before calls fail: that the weights are gone tells what becomes of those who wait for them.
    this.#onLost(reason);
    this.#end(this.#ended);
  }

  #end(failure: Failure): void {
    this.#ended ??= failure;
    this.#worker.terminate();
    this.#watch?.cancel();
    this.#watch = null;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { done } of pending) done(failure);
  }

  #ask<K extends OperationName>(
    op: K,
    request: Operations[K]["request"],
  ): Promise<Operations[K]["reply"]> {
    return new Promise((resolve, reject) => {
      this.call(op, request, [], (reply) => {
        if (isFailure(reply)) reject(new Error(reply.message));
        else resolve(reply);
      });
    });
  }

  async #synchronize(): Promise<void> {
    const samples: TimeSample[] = [];
    let originMs = 0;
    for (let i = 0; i < TIME_SAMPLES; i++) {
      const sentNs = this.#clock.now();
      const { nowMs, timeOriginMs } = await this.#ask("time", {});
      samples.push({ sentNs, receivedNs: this.#clock.now(), threadMs: nowMs });
      originMs = timeOriginMs;
    }
    this.#offsetNs = threadOffsetNs(samples, originOffsetNs(this.#clock, originMs));
  }
}
