/** The backend's end of a GPU thread: calls with callbacks, and its time in the process's terms. */
import type { Clock } from "../../core/clock.ts";
import { ActionStatus } from "../../core/status.ts";
import { type Done, type Failure, isFailure, type Span } from "../backend.ts";
import type {
  DeviceInfo,
  DeviceKind,
  FromThread,
  OperationName,
  Operations,
  ThreadSpan,
} from "./protocol.ts";
import { originOffsetNs, threadOffsetNs, type TimeSample } from "./thread_time.ts";

/** A driver that has not answered after this time will not. */
const OPEN_TIMEOUT_NS = 60e9;
const TIME_SAMPLES = 10;

type AnyDone = Done<Operations[OperationName]["reply"]>;

export class GpuThread {
  readonly #clock: Clock;
  readonly #worker: Worker;
  readonly #pending = new Map<number, AnyDone>();
  readonly #onLost: (reason: string) => void;
  #seq = 0;
  #offsetNs = 0;
  /** Set once no answer can come any more. */
  #ended: Failure | undefined;

  private constructor(clock: Clock, onLost: (reason: string) => void) {
    this.#clock = clock;
    this.#onLost = onLost;
    this.#worker = new Worker(new URL("./thread.ts", import.meta.url), {
      type: "module",
      name: "gpu",
    });
    this.#worker.onmessage = (event: MessageEvent<FromThread>) => this.#receive(event.data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#worker.terminate();
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
    kind: DeviceKind,
    onLost: (reason: string) => void,
  ): Promise<{ thread: GpuThread; info: DeviceInfo }> {
    let opened = false;
    const thread = new GpuThread(clock, (reason) => {
      // Before it was opened, the failure of the call says so.
      if (opened) onLost(reason);
    });
    const timer = clock.at(clock.now() + OPEN_TIMEOUT_NS, () => thread.close("it did not answer"));
    try {
      const info = await thread.#ask("open", { kind });
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
    this.#pending.set(seq, done as AnyDone);
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
    this.#worker.terminate();
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
    const done = this.#pending.get(message.seq);
    this.#pending.delete(message.seq);
    done?.(
      "reply" in message ? message.reply : { status: message.status, message: message.message },
    );
  }

  #lose(reason: string): void {
    if (this.#ended !== undefined) return;
    this.#end({ status: ActionStatus.runtimeError, message: `the GPU is lost: ${reason}` });
    this.#onLost(reason);
  }

  #end(failure: Failure): void {
    this.#ended ??= failure;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const done of pending) done(failure);
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
