/** Statistics of the request log, accumulated row by row. */
import { MS } from "../../core/clock.ts";
import { requestColumns } from "../records.ts";
import { Counter } from "./counter.ts";
import { COARSE_BITS, FINE_BITS, Histogram } from "./histogram.ts";
import { TimeBins } from "./time_bins.ts";
import { type ColumnKind, type TimeOrigin, TsvParser } from "./tsv_parser.ts";

const KINDS: Readonly<Record<string, ColumnKind>> = {
  t: "time",
  result: "count",
  model_id: "count",
  latency: "count",
  deadline_met: "count",
  is_coldstart: "count",
};
const NAMES = requestColumns(String).map(([name]) => name);
const COLUMNS = NAMES.map((name) => [name, KINDS[name] ?? "skip"] as const);
const T = NAMES.indexOf("t");
const RESULT = NAMES.indexOf("result");
const MODEL_ID = NAMES.indexOf("model_id");
const LATENCY = NAMES.indexOf("latency");
const DEADLINE_MET = NAMES.indexOf("deadline_met");
const IS_COLDSTART = NAMES.indexOf("is_coldstart");

/** Models that are told apart; requests of those that come later are counted together. */
export const MAX_MODELS = 20_000;
/** Codes are few; a log of nonsense may have many. */
const MAX_STATUSES = 100;
/** Points of the plot over time: at most this, at least half of it once there are as many. */
const MAX_BINS = 1000;
const BIN_NS = 20 * MS;

export class ModelStats {
  requests = 0;
  inTime = 0;
  coldStarts = 0;
  /** Of results. */
  readonly latencyNs = new Histogram(COARSE_BITS);

  constructor(readonly modelId: number) {}
}

export class RequestStats {
  requests = 0;
  succeeded = 0;
  inTime = 0;
  coldStarts = 0;
  /** Arrival of the first, and answer of the last, from the time origin. */
  beginNs = Infinity;
  endNs = -Infinity;
  readonly statuses = new Counter(MAX_STATUSES);
  /** Latencies of results: refusals are quick, and nobody waits for one. */
  readonly latencyNs = new Histogram(FINE_BITS);
  readonly coldLatencyNs = new Histogram(FINE_BITS);
  readonly models = new Map<number, ModelStats>();
  readonly otherModels = new ModelStats(-1);
  readonly bins = new TimeBins(MAX_BINS, BIN_NS);
  /** Rows of the bins: requests by arrival, answers in time by answer, other answers by answer. */
  readonly offered = this.bins.addRow();
  readonly good = this.bins.addRow();
  readonly bad = this.bins.addRow();

  /** A parser of one file of the log, which feeds this. */
  parser(file: string, origin: TimeOrigin): TsvParser {
    return new TsvParser(file, COLUMNS, origin, (values) => this.#add(values));
  }

  #add(values: Float64Array): void {
    const arrivalNs = values[T]!;
    const latencyNs = values[LATENCY]!;
    const departureNs = arrivalNs + latencyNs;
    const status = values[RESULT]!;
    const met = values[DEADLINE_MET] === 1;
    const cold = values[IS_COLDSTART] === 1;
    this.requests++;
    if (arrivalNs < this.beginNs) this.beginNs = arrivalNs;
    if (departureNs > this.endNs) this.endNs = departureNs;
    this.statuses.add(status);
    this.bins.add(this.offered, arrivalNs, 1);
    this.bins.add(met ? this.good : this.bad, departureNs, 1);
    const model = this.#model(values[MODEL_ID]!);
    model.requests++;
    if (met) {
      this.inTime++;
      model.inTime++;
    }
    if (cold) {
      this.coldStarts++;
      model.coldStarts++;
    }
    if (status !== 0) return;
    this.succeeded++;
    this.latencyNs.add(latencyNs);
    model.latencyNs.add(latencyNs);
    if (cold) this.coldLatencyNs.add(latencyNs);
  }

  #model(modelId: number): ModelStats {
    let model = this.models.get(modelId);
    if (model === undefined) {
      if (this.models.size >= MAX_MODELS) return this.otherModels;
      this.models.set(modelId, model = new ModelStats(modelId));
    }
    return model;
  }
}
