/** The controller's connections to its workers over TCP: made at the start, and again when lost. */
import { type Clock, MS, SECOND } from "../core/clock.ts";
import type { Controller } from "../controller/controller.ts";
import type { Accept } from "../wire/link.ts";
import { type Address, connect, formatAddress } from "../wire/tcp.ts";
import { CliError } from "./exit.ts";
import type { StopSignals } from "./stop_signals.ts";

/** Pause before a lost worker is tried again: doubled after each failure, up to the second. */
const FIRST_RETRY_NS = 100 * MS;
const LAST_RETRY_NS = 2 * SECOND;

export class WorkerConnections {
  readonly #clock: Clock;
  readonly #controller: Controller;
  readonly #stop: StopSignals;

  constructor(clock: Clock, controller: Controller, stop: StopSignals) {
    this.#clock = clock;
    this.#controller = controller;
    this.#stop = stop;
  }

  /**
   * Connects to each worker in turn; what is lost later is connected to again by itself.
   * @throws {CliError} naming the worker that cannot be reached.
   */
  async connectAll(addresses: readonly Address[]): Promise<void> {
    for (const address of addresses) {
      if (this.#stop.requested) return;
      console.log(`Connecting to worker ${formatAddress(address)}`);
      try {
        await this.#connect(address);
      } catch (error) {
        throw new CliError(`${(error as Error).message}; start the worker first`);
      }
      console.log("Connection established");
    }
  }

  #connect(address: Address): Promise<void> {
    const accept: Accept = (link) => {
      const handler = this.#controller.acceptWorker(link);
      return {
        onMessage: (message) => handler.onMessage(message),
        onClose: (reason) => {
          handler.onClose(reason);
          this.#retryLater(address, FIRST_RETRY_NS);
        },
      };
    };
    return connect(address, this.#clock, { role: "controller", peerRoles: ["worker"] }, accept);
  }

  #retryLater(address: Address, pauseNs: number): void {
    if (this.#stop.requested) return;
    this.#clock.at(this.#clock.now() + pauseNs, () => {
      if (this.#stop.requested) return;
      this.#connect(address).catch(() =>
        this.#retryLater(address, Math.min(2 * pauseNs, LAST_RETRY_NS))
      );
    });
  }
}
