/** Outcomes of requests per second, for the last minutes. */
import { SECOND } from "../../core/clock.ts";
import { metDeadline, type RequestRecord } from "../records.ts";
import { LatencySketch } from "./latency_sketch.ts";

/** Seconds that are kept. */
export const KEPT_SECONDS = 300;

export interface SecondTotals {
  /** The clock's seconds when it began. */
  readonly second: number;
  /** Results that came by their deadline, and later; requests that got none. */
  readonly inTime: number;
  readonly late: number;
  readonly refused: number;
  readonly coldStarts: number;
  /** Of results. */
  readonly p50Ns: number;
  readonly p99Ns: number;
}

interface Totals {
  second: number;
  inTime: number;
  late: number;
  refused: number;
  coldStarts: number;
  p50Ns: number;
  p99Ns: number;
  /** When it last changed. */
  sequence: number;
}

export class SecondHistory {
  /** Those in which something happened, oldest first. */
  readonly #seconds: Totals[] = [];
  #latency = new LatencySketch();

  add(record: RequestRecord, sequence: number): void {
    const totals = this.#at(Math.floor(record.departureNs / SECOND));
    if (record.status !== 0) totals.refused++;
    else {
      if (metDeadline(record)) totals.inTime++;
      else totals.late++;
      this.#latency.add(record.departureNs - record.arrivalNs);
    }
    if (record.cold && record.arrivalCount === 0) totals.coldStarts++;
    totals.sequence = sequence;
  }

  /** Those that have changed since, of the last {@link KEPT_SECONDS}; the last may change yet. */
  since(cursor: number, nowNs: number): SecondTotals[] {
    const oldest = Math.floor(nowNs / SECOND) - KEPT_SECONDS;
    this.#settle();
    return this.#seconds.filter(({ second, sequence }) => sequence > cursor && second > oldest);
  }

  #at(second: number): Totals {
    const last = this.#seconds.at(-1);
    if (last !== undefined && last.second === second) return last;
    this.#settle();
    this.#latency = new LatencySketch();
    const zero = { inTime: 0, late: 0, refused: 0, coldStarts: 0, p50Ns: 0, p99Ns: 0 };
    const totals: Totals = { second, ...zero, sequence: 0 };
    this.#seconds.push(totals);
    if (this.#seconds.length > KEPT_SECONDS) this.#seconds.shift();
    return totals;
  }

  /** The latencies of the second that is being counted become figures. */
  #settle(): void {
    const last = this.#seconds.at(-1);
    if (last === undefined) return;
    last.p50Ns = this.#latency.quantileNs(0.5);
    last.p99Ns = this.#latency.quantileNs(0.99);
  }
}
