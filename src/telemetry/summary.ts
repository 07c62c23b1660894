/**
 * The controller's summary of the last seconds: a line per GPU for weight loads and for inferences, one
 * for clients, one for the network.
 */
import { MS, SECOND } from "../core/clock.ts";
import { type ActionRecord, metDeadline, type RequestRecord } from "./records.ts";

/** Smallest, largest and mean of some values; all 0 when there are none. */
class Range {
  count = 0;
  sum = 0;
  #min = Infinity;
  #max = -Infinity;

  add(value: number): void {
    this.count++;
    this.sum += value;
    this.#min = Math.min(this.#min, value);
    this.#max = Math.max(this.#max, value);
  }

  get min(): number {
    return this.count === 0 ? 0 : this.#min;
  }
  get max(): number {
    return this.count === 0 ? 0 : this.#max;
  }
  get mean(): number {
    return this.count === 0 ? 0 : this.sum / this.count;
  }
}

/** What one engine of a GPU did: `infer`, or weight loads. */
class Engine {
  constructor(readonly workerId: number, readonly gpuId: number, readonly infer: boolean) {}
  readonly workerNs = new Range();
  readonly endToEndNs = new Range();
  readonly clockMhz = new Range();
  /** Requests, for inferences; actions, for loads. */
  done = 0;
}

export interface NetworkTotals {
  readonly sentBytes: number;
  readonly sentMessages: number;
  readonly receivedBytes: number;
  readonly receivedMessages: number;
}

const NO_TRAFFIC: NetworkTotals = {
  sentBytes: 0,
  sentMessages: 0,
  receivedBytes: 0,
  receivedMessages: 0,
};

export class Summary {
  readonly #engines = new Map<string, Engine>();
  #latencyNs = new Range();
  #answered = 0;
  #good = 0;
  #traffic = NO_TRAFFIC;
  #sinceNs: number;

  constructor(nowNs: number) {
    this.#sinceNs = nowNs;
  }

  addRequest(record: RequestRecord): void {
    this.#answered++;
    if (metDeadline(record)) this.#good++;
    // Refusals are quick; only results tell how long a user waits for one.
    if (record.status === 0) this.#latencyNs.add(record.departureNs - record.arrivalNs);
  }

  addAction({ action, status, beginNs, endNs, sentNs, enqueuedNs, gpuClock }: ActionRecord): void {
    if (status !== 0 || action.type === "EvictWeights") return;
    const { workerId, gpuId } = action.gpu;
    const infer = action.type === "Infer";
    const key = `${workerId}/${gpuId}/${infer}`;
    let engine = this.#engines.get(key);
    if (engine === undefined) {
      this.#engines.set(key, engine = new Engine(workerId, gpuId, infer));
    }
    engine.workerNs.add(endNs - beginNs);
    engine.endToEndNs.add(enqueuedNs - sentNs);
    engine.clockMhz.add(gpuClock);
    engine.done += action.type === "Infer" ? action.batchSize : 1;
  }

  /** The lines for the time since the last call, which is then forgotten. */
  take(nowNs: number, traffic: NetworkTotals): string[] {
    const seconds = Math.max(1, nowNs - this.#sinceNs) / SECOND;
    const lines = [...this.#engines.values()].sort(byPlace).map((engine) =>
      engineLine(engine, seconds)
    );
    const success = this.#answered === 0 ? 100 : 100 * this.#good / this.#answered;
    const { min, max, mean } = this.#latencyNs;
    lines.push(
      `Client throughput=${(this.#answered / seconds).toFixed(1)} success=${success.toFixed(2)}% ` +
        `min=${ms(min, 1)} max=${ms(max, 1)} mean=${ms(mean, 1)}`,
    );
    const rate = (key: keyof NetworkTotals) => (traffic[key] - this.#traffic[key]) / seconds;
    lines.push(
      `Network->Workers: ${megabytes(rate("sentBytes"))} (${
        rate("sentMessages").toFixed(0)
      } msgs) ` +
        `snd, ${megabytes(rate("receivedBytes"))} (${
          rate("receivedMessages").toFixed(0)
        } msgs) rcv,`,
    );
    this.#engines.clear();
    this.#latencyNs = new Range();
    this.#answered = 0;
    this.#good = 0;
    this.#traffic = { ...traffic };
    this.#sinceNs = nowNs;
    return lines;
  }
}

/** By GPU; loads before inferences. */
function byPlace(a: Engine, b: Engine): number {
  return a.workerId - b.workerId || a.gpuId - b.gpuId || Number(a.infer) - Number(b.infer);
}

function engineLine(engine: Engine, seconds: number): string {
  const { workerId, gpuId, infer, workerNs, endToEndNs, clockMhz, done } = engine;
  // WebGPU does not tell the clock of a GPU, so the normalized times are the measured ones.
  return `W${workerId}-GPU${gpuId} ${infer ? "Infer" : "LoadW"} ` +
    `min=${ms(workerNs.min)} max=${ms(workerNs.max)} mean=${ms(workerNs.mean)} ` +
    `e2emean=${ms(endToEndNs.mean)} e2emax=${ms(endToEndNs.max)} ` +
    `throughput=${(done / seconds).toFixed(1)} ` +
    `utilization=${(workerNs.sum / SECOND / seconds).toFixed(2)} ` +
    `clock=[${clockMhz.min}-${clockMhz.max}] norm_max=${ms(infer ? workerNs.max : 0)} ` +
    `norm_mean=${ms(infer ? workerNs.mean : 0)}`;
}

function ms(ns: number, digits = 2): string {
  return (ns / MS).toFixed(digits);
}

function megabytes(bytesPerSecond: number): string {
  return `${(bytesPerSecond / 2 ** 20).toFixed(1)}MB/s`;
}
