/**
 * A gateway in a thread of the controller's process, so that parsing tensors delays no decision. If the
 * thread dies, another one replaces it.
 */
import { type Clock, SECOND } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import { type Address, formatAddress } from "../../wire/tcp.ts";
import { CliError } from "../exit.ts";
import type { GatewayConfig } from "./server.ts";

export type ToThread =
  | { readonly type: "start"; readonly config: GatewayConfig }
  | { readonly type: "close" };

export type FromThread =
  | { readonly type: "log"; readonly line: string }
  | { readonly type: "serving"; readonly address: Address }
  | { readonly type: "failed"; readonly message: string }
  | { readonly type: "closed" };

/** Pause before another thread is started; one that dies at once must not take all of the machine. */
const RESTART_NS = SECOND;
/** Beyond what the gateway itself may take to close. */
const CLOSE_NS = 3 * SECOND;

const ENTRY = new URL("./gateway_thread.ts", import.meta.url);

export class HttpThread {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #config: GatewayConfig;
  readonly #entry: URL;
  #worker: Worker | null = null;
  #closing = false;
  /** Whether one has ever served. */
  #served = false;
  #onClosed: () => void = () => {};

  private constructor(clock: Clock, log: Log, config: GatewayConfig, entry: URL) {
    this.#clock = clock;
    this.#log = log;
    this.#config = config;
    this.#entry = entry;
  }

  /**
   * Starts one; resolves when it serves.
   *
   * @param entry the thread's module; another one for tests.
   * @throws {CliError} when it cannot listen on its address, or dies before it serves.
   */
  static async start(
    clock: Clock,
    log: Log,
    config: GatewayConfig,
    entry: URL = ENTRY,
  ): Promise<HttpThread> {
    const thread = new HttpThread(clock, log, config, entry);
    const problem = await thread.#start();
    if (problem === null) return thread;
    thread.#end();
    throw new CliError(problem);
  }

  /** Has it finish what it has, and ends it. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#worker === null) return;
    const closed = new Promise<void>((resolve) => this.#onClosed = resolve);
    this.#send({ type: "close" });
    const limitNs = this.#clock.now() + this.#config.drainNs + CLOSE_NS;
    const limit = new Promise<void>((resolve) => this.#clock.at(limitNs, resolve));
    await Promise.race([closed, limit]);
    this.#end();
  }

  /** Resolves to null when the thread serves, or to what is wrong. */
  #start(): Promise<string | null> {
    return new Promise((resolve) => {
      const worker = this.#worker = new Worker(this.#entry, { type: "module", name: "http" });
      worker.onmessage = ({ data }: MessageEvent<FromThread>) => {
        switch (data.type) {
          case "log":
            this.#log(data.line);
            break;
          case "serving":
            this.#log(`Serving HTTP at http://${formatAddress(data.address)}/v2`);
            this.#served = true;
            resolve(null);
            break;
          case "failed":
            resolve(data.message);
            break;
          case "closed":
            this.#onClosed();
        }
      };
      worker.onerror = (event) => {
        event.preventDefault();
        const problem = `the HTTP thread has died: ${event.message}`;
        resolve(problem);
        if (this.#worker === worker) this.#onDied(problem);
      };
      this.#send({ type: "start", config: this.#config });
    });
  }

  #onDied(problem: string): void {
    this.#end();
    this.#onClosed();
    // Before the first has served, whoever starts it is told, and decides.
    if (this.#closing || !this.#served) return;
    this.#log(`${problem}; another is started in ${RESTART_NS / SECOND} s`);
    this.#restartLater();
  }

  #restartLater(): void {
    this.#clock.at(this.#clock.now() + RESTART_NS, async () => {
      if (this.#closing) return;
      const problem = await this.#start();
      // One that died has been told of, and is followed by the next.
      if (problem === null || this.#worker === null) return;
      this.#end();
      this.#log(`${problem}; it is tried again in ${RESTART_NS / SECOND} s`);
      this.#restartLater();
    });
  }

  #send(message: ToThread): void {
    this.#worker?.postMessage(message);
  }

  #end(): void {
    this.#worker?.terminate();
    this.#worker = null;
  }
}
