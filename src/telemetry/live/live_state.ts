/**
 * Recent events in a cluster, for the dashboard. Totals per second are always counted, so that new
 * observers see the last minutes; everything else is recorded only if somebody has asked for it recently.
 */
import { type Clock, SECOND, type Timer } from "../../core/clock.ts";
import { modelName } from "../../core/model_name.ts";
import { type ActionRecord, metDeadline, type RequestRecord, type SentAction } from "../records.ts";
import { actionStatusName, actionTypeName } from "../report/status_names.ts";
import { LatencySketch } from "./latency_sketch.ts";
import { type RecentAction, RecentActions } from "./recent_actions.ts";
import { SecondHistory, type SecondTotals } from "./second_totals.ts";

/** Whoever does not ask for so long does not watch any more. */
const WATCH_NS = 10 * SECOND;
/** Figures of models are those of one to two such periods. */
export const MODEL_PERIOD_NS = 30 * SECOND;
/** Events that are kept. */
const KEPT_EVENTS = 100;
/** Failures that are alike are one event with a count, when they come within this time of the first. */
const ALIKE_NS = 1 * SECOND;
/** Actions in one answer. */
const MAX_ACTIONS = 2000;
/** Longest message of an event, in characters, and how much of it a model's name may take. */
const MAX_MESSAGE = 300;
const MAX_NAME = 100;

export interface ModelFigures {
  readonly path: string;
  readonly answered: number;
  readonly inTime: number;
  readonly coldStarts: number;
  readonly p50Ns: number;
  readonly p99Ns: number;
}

/** Something that should not happen often. */
export interface Event {
  /** When it first happened, and how often by now. */
  readonly atNs: number;
  readonly count: number;
  readonly message: string;
}

export interface GpuTimes {
  inFlight: number;
  /** Since it is watched. */
  inferNs: number;
  loadNs: number;
}

/** What an observer is told. */
export interface LiveUpdate {
  /** To be told only of what comes after this. */
  readonly cursor: number;
  readonly seconds: readonly SecondTotals[];
  readonly actions: readonly RecentAction[];
  /** All that are under way. */
  readonly planned: readonly RecentAction[];
  readonly events: readonly Event[];
  /** Of models with requests; most requests first. */
  readonly models: readonly ModelFigures[];
}

interface ModelTotals {
  answered: number;
  inTime: number;
  coldStarts: number;
  readonly latency: LatencySketch;
}

interface KeptEvent {
  readonly kind: string;
  readonly atNs: number;
  count: number;
  readonly message: string;
  sequence: number;
}

/** What is kept while somebody watches. */
class Watched {
  readonly actions = new RecentActions();
  readonly gpus = new Map<number, Map<number, GpuTimes>>();
  /** By model, of this period and of the one before; models of one path share their totals. */
  totals = new Map<number, ModelTotals>();
  totalsByPath = new Map<string, ModelTotals>();
  before: ReadonlyMap<string, ModelTotals> = new Map();
  periodEndsNs: number;

  constructor(nowNs: number) {
    this.periodEndsNs = nowNs + MODEL_PERIOD_NS;
  }

  gpu(workerId: number, gpuId: number): GpuTimes {
    let gpus = this.gpus.get(workerId);
    if (gpus === undefined) this.gpus.set(workerId, gpus = new Map());
    let gpu = gpus.get(gpuId);
    if (gpu === undefined) gpus.set(gpuId, gpu = { inFlight: 0, inferNs: 0, loadNs: 0 });
    return gpu;
  }

  nextPeriod(nowNs: number): void {
    if (nowNs < this.periodEndsNs) return;
    // Never too old: whoever does not ask for longer does not watch any more.
    this.before = this.totalsByPath;
    this.totals = new Map();
    this.totalsByPath = new Map();
    this.periodEndsNs = nowNs + MODEL_PERIOD_NS;
  }
}

export class LiveState {
  readonly #clock: Clock;
  readonly #pathOf: (modelId: number) => string;
  readonly #seconds = new SecondHistory();
  readonly #events: KeptEvent[] = [];
  /** Counts all that happens. */
  #sequence = 0;
  #watched: Watched | null = null;
  #watchedUntilNs = 0;
  #timer: Timer | null = null;

  /** @param pathOf the path of a model; copies have the same. */
  constructor(clock: Clock, pathOf: (modelId: number) => string) {
    this.#clock = clock;
    this.#pathOf = pathOf;
  }

  /** Whether somebody has asked lately. */
  get watched(): boolean {
    return this.#watched !== null;
  }

  onRequest(record: RequestRecord): void {
    this.#seconds.add(record, ++this.#sequence);
    const watched = this.#watched;
    if (watched === null) return;
    watched.nextPeriod(record.departureNs);
    let model = watched.totals.get(record.modelId);
    if (model === undefined) {
      const path = this.#pathOf(record.modelId);
      model = watched.totalsByPath.get(path);
      if (model === undefined) watched.totalsByPath.set(path, model = noTotals());
      watched.totals.set(record.modelId, model);
    }
    model.answered++;
    if (metDeadline(record)) model.inTime++;
    if (record.cold && record.arrivalCount === 0) model.coldStarts++;
    if (record.status === 0) model.latency.add(record.departureNs - record.arrivalNs);
  }

  onSent(sent: SentAction): void {
    const watched = this.#watched;
    if (watched === null) return;
    watched.actions.sent(sent);
    const { workerId, gpuId } = sent.action.gpu;
    watched.gpu(workerId, gpuId).inFlight++;
  }

  onAction(record: ActionRecord): void {
    const watched = this.#watched;
    if (record.status !== 0) {
      this.note(
        `${record.action.type} ${record.status}`,
        () => describeFailure(record, modelName(this.#pathOf(record.action.modelId))),
      );
    }
    if (watched === null) return;
    watched.actions.ended(record, ++this.#sequence);
    const { workerId, gpuId } = record.action.gpu;
    const gpu = watched.gpu(workerId, gpuId);
    // One that was sent before anybody watched was not counted.
    gpu.inFlight = Math.max(0, gpu.inFlight - 1);
    if (record.status !== 0) return;
    if (record.action.type === "Infer") gpu.inferNs += record.endNs - record.beginNs;
    if (record.action.type === "LoadWeights") gpu.loadNs += record.endNs - record.beginNs;
  }

  /** Something happened that people should see. Of those of one kind that come together, one is kept. */
  note(kind: string, message: () => string): void {
    const nowNs = this.#clock.now();
    const alike = this.#events.findLast((event) => event.kind === kind);
    if (alike !== undefined && nowNs - alike.atNs < ALIKE_NS) {
      alike.count++;
      alike.sequence = ++this.#sequence;
      return;
    }
    const event = { kind, atNs: nowNs, count: 1, message: message().slice(0, MAX_MESSAGE) };
    this.#events.push({ ...event, sequence: ++this.#sequence });
    if (this.#events.length > KEPT_EVENTS) this.#events.shift();
  }

  /** Times of a GPU since it is watched. */
  gpu(workerId: number, gpuId: number): Readonly<GpuTimes> {
    return this.#watched?.gpu(workerId, gpuId) ?? { inFlight: 0, inferNs: 0, loadNs: 0 };
  }

  /**
   * What is new since an earlier answer's cursor, 0 for none; from now on it is watched. A cursor that is
   * none of ours, as that of an earlier controller, counts as none.
   */
  poll(cursor: number): LiveUpdate {
    if (cursor > this.#sequence) cursor = 0;
    const nowNs = this.#clock.now();
    const watched = this.#watch(nowNs);
    watched.nextPeriod(nowNs);
    return {
      cursor: this.#sequence,
      seconds: this.#seconds.since(cursor, nowNs),
      actions: watched.actions.since(cursor, MAX_ACTIONS),
      planned: watched.actions.planned(MAX_ACTIONS),
      events: this.#events.filter(({ sequence }) => sequence > cursor),
      models: figures(watched),
    };
  }

  /** Forgets what is kept for observers. */
  close(): void {
    this.#timer?.cancel();
    this.#watched = null;
  }

  #watch(nowNs: number): Watched {
    this.#watchedUntilNs = nowNs + WATCH_NS;
    if (this.#watched === null) {
      this.#watched = new Watched(nowNs);
      this.#endWhenUnwatched();
    }
    return this.#watched;
  }

  #endWhenUnwatched(): void {
    this.#timer = this.#clock.at(this.#watchedUntilNs, () => {
      if (this.#clock.now() < this.#watchedUntilNs) this.#endWhenUnwatched();
      else this.#watched = null;
    });
  }
}

function describeFailure(
  { type, actionId, action, status, message = "" }: ActionRecord,
  model: string,
): string {
  const { workerId, gpuId } = action.gpu;
  const id = `model ${action.modelId}`;
  // One that is not there any more has no name.
  const named = model === "" ? id : `${model.slice(0, MAX_NAME)} (${id})`;
  const what = `${actionTypeName(type)} A${actionId} of ${named}`;
  const why = message === "" ? "" : `: ${message}`;
  return `W${workerId}-GPU${gpuId} ${what}: ${actionStatusName(status)}${why}`;
}

function noTotals(): ModelTotals {
  return { answered: 0, inTime: 0, coldStarts: 0, latency: new LatencySketch() };
}

/** Of this period and the one before, together. */
function figures({ totalsByPath, before }: Watched): ModelFigures[] {
  const paths = new Set([...totalsByPath.keys(), ...before.keys()]);
  return Array.from(paths, (path): ModelFigures => {
    const sum = noTotals();
    for (const totals of [before.get(path), totalsByPath.get(path)]) {
      if (totals === undefined) continue;
      sum.answered += totals.answered;
      sum.inTime += totals.inTime;
      sum.coldStarts += totals.coldStarts;
      sum.latency.merge(totals.latency);
    }
    const { answered, inTime, coldStarts, latency } = sum;
    const [p50Ns, p99Ns] = [latency.quantileNs(0.5), latency.quantileNs(0.99)];
    return { path, answered, inTime, coldStarts, p50Ns, p99Ns };
  }).sort((a, b) => b.answered - a.answered);
}
