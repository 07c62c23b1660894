/** The lines that the controller prints every ten seconds. */
import { type Clock, every, SECOND, type Timer } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { ActionRecord, RequestRecord } from "../telemetry/records.ts";
import { type NetworkTotals, Summary } from "../telemetry/summary.ts";
import { describeInputs } from "./report.ts";
import type { InputOrigin } from "./serving.ts";
import type { WorkerPeer } from "./worker_peer.ts";

const SUMMARY_PERIOD_NS = 10 * SECOND;

export class SummaryPrinter {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #summary: Summary;
  readonly #timer: Timer;
  readonly #peers: () => Iterable<WorkerPeer>;
  readonly #takeInputOrigins: () => ReadonlySet<InputOrigin>;
  /** Traffic of workers that are gone. */
  readonly #pastTraffic = {
    sentBytes: 0,
    sentMessages: 0,
    receivedBytes: 0,
    receivedMessages: 0,
  };
  #active = false;
  #networkStatus = "";

  /** `peers` are the workers that are connected when it is called. */
  constructor(
    clock: Clock,
    log: Log,
    peers: () => Iterable<WorkerPeer>,
    takeInputOrigins: () => ReadonlySet<InputOrigin>,
  ) {
    this.#clock = clock;
    this.#log = log;
    this.#peers = peers;
    this.#takeInputOrigins = takeInputOrigins;
    this.#summary = new Summary(clock.now());
    this.#timer = every(clock, SUMMARY_PERIOD_NS, () => this.#print());
  }

  onRequest(record: RequestRecord): void {
    this.#active = true;
    this.#summary.addRequest(record);
  }

  onAction(record: ActionRecord): void {
    this.#active = true;
    this.#summary.addAction(record);
  }

  onWorkerLost(peer: WorkerPeer): void {
    this.#add(this.#pastTraffic, peer);
  }

  close(): void {
    this.#timer.cancel();
  }

  #add(totals: { -readonly [K in keyof NetworkTotals]: number }, peer: WorkerPeer): void {
    for (const key of Object.keys(totals) as (keyof NetworkTotals)[]) {
      totals[key] += peer.link.traffic[key];
    }
  }

  #print(): void {
    const traffic = { ...this.#pastTraffic };
    for (const peer of this.#peers()) this.#add(traffic, peer);
    const lines = this.#summary.take(this.#clock.now(), traffic);
    // Nothing is printed for a time in which nothing was done.
    if (!this.#active) return;
    this.#active = false;
    const status = describeInputs(this.#takeInputOrigins());
    if (status !== "" && status !== this.#networkStatus) {
      this.#networkStatus = status;
      this.#log(status);
    }
    for (const line of lines) this.#log(line);
  }
}
