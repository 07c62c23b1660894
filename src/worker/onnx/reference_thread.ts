/**
 * A thread that runs models on the CPU, for comparison with devices. It exists only while it is needed.
 */
import { type Clock, SECOND, type Timer } from "../../core/clock.ts";
import { ActionStatus } from "../../core/status.ts";
import { type Failure, isFailure } from "../backend.ts";
import { ask } from "./gpu_slot.ts";
import { GpuThread, type ThreadTimeouts } from "./gpu_thread.ts";
import type { ModelSource } from "./protocol.ts";

/** Models are often loaded one after the other: the thread waits this long for the next. */
const IDLE_NS = 5 * SECOND;

export class ReferenceThread {
  readonly #clock: Clock;
  readonly #timeouts: ThreadTimeouts;
  #thread: Promise<GpuThread> | null = null;
  #users = 0;
  #idle: Timer | null = null;

  constructor(clock: Clock, timeouts: ThreadTimeouts) {
    this.#clock = clock;
    this.#timeouts = timeouts;
  }

  /** What the CPU makes of the seeded input of one request. `source.file` is transferred. */
  async outputs(source: ModelSource): Promise<readonly ArrayBuffer[] | Failure> {
    this.#idle?.cancel();
    this.#users++;
    try {
      this.#thread ??= this.#open();
      const reply = await ask(await this.#thread, "reference", { source }, [source.file]);
      return isFailure(reply) ? reply : reply.buffers;
    } catch (error) {
      // The next comparison tries anew.
      this.#thread = null;
      return { status: ActionStatus.runtimeError, message: (error as Error).message };
    } finally {
      this.#users--;
      if (this.#users === 0) {
        this.#idle = this.#clock.at(this.#clock.now() + IDLE_NS, () => this.close());
      }
    }
  }

  close(): void {
    this.#idle?.cancel();
    this.#thread?.then((thread) => thread.close("it is not needed any more"), () => {});
    this.#thread = null;
  }

  async #open(): Promise<GpuThread> {
    const { thread } = await GpuThread.open(
      this.#clock,
      { target: { kind: "wasm", adapter: null }, pageBytes: 1, weightsCacheBytes: null },
      this.#timeouts,
      // The next comparison gets a new one.
      () => this.#thread = null,
    );
    return thread;
  }
}
