/** The lines that the controller prints every ten seconds. */
import { type Clock, every, SECOND, type Timer } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { ActionRecord, RequestRecord } from "../telemetry/records.ts";
import { type NetworkTotals, Summary } from "../telemetry/summary.ts";
import { describeInputs } from "./report.ts";
import type { InputOrigin } from "./serving.ts";

const SUMMARY_PERIOD_NS = 10 * SECOND;

export class SummaryPrinter {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #summary: Summary;
  readonly #timer: Timer;
  readonly #traffic: () => NetworkTotals;
  readonly #takeInputOrigins: () => ReadonlySet<InputOrigin>;
  #active = false;
  #networkStatus = "";

  /** `traffic` is that with all workers when it is called. */
  constructor(
    clock: Clock,
    log: Log,
    traffic: () => NetworkTotals,
    takeInputOrigins: () => ReadonlySet<InputOrigin>,
  ) {
    this.#clock = clock;
    this.#log = log;
    this.#traffic = traffic;
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

  close(): void {
    this.#timer.cancel();
  }

  #print(): void {
    const lines = this.#summary.take(this.#clock.now(), this.#traffic());
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
