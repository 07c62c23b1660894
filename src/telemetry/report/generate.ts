/**
 * Generates logs like a controller's by seed, for tests and measurements of the report. A crude cluster
 * serves Poisson arrivals at models of unequal popularity: each GPU has some of the models, loads weights
 * when they are needed, forms batches of what waits, and refuses what would be late.
 */
import { MS, SECOND } from "../../core/clock.ts";
import { Random } from "../../core/random.ts";
import { RequestStatus } from "../../core/status.ts";
import type { ActionRecord, RequestRecord } from "../records.ts";
import { EVICT_WEIGHTS, INFER, LOAD_WEIGHTS } from "./status_names.ts";

export interface GeneratedLoad {
  readonly seed: number;
  readonly requests: number;
  readonly gpus: number;
  readonly models: number;
  readonly requestsPerS: number;
}

const GPUS_PER_WORKER = 4;
const SLO_NS = 100 * MS;
const LOAD_NS = 8.4 * MS;
const MAX_BATCH = 8;
const NETWORK_NS = 0.1 * MS;
/** The part of its models that a GPU has room for. */
const RESIDENT = 0.8;

interface Batch {
  readonly model: number;
  readonly requests: { readonly id: number; readonly arrivalNs: number; readonly cold: boolean }[];
}

/** Calls back with the records in the order in which a controller would. */
export function generateLoad(
  load: GeneratedLoad,
  onRequest: (record: RequestRecord) => void,
  onAction: (record: ActionRecord) => void,
): void {
  const random = new Random(load.seed);
  const gpus = Array.from(
    { length: load.gpus },
    (_, i) =>
      new Gpu(i, Math.ceil(RESIDENT * load.models / load.gpus), random, onRequest, onAction),
  );
  let nowNs = SECOND;
  for (let id = 0; id < load.requests; id++) {
    // The load swells and ebbs, so that there is something to see.
    const swell = 1 + 0.6 * Math.sin(nowNs / SECOND / 20);
    nowNs += random.exponential(SECOND / load.requestsPerS / swell);
    const model = Math.floor(load.models * random.float() ** 2.5);
    gpus[model % load.gpus]!.submit(id, model, nowNs);
  }
  for (const gpu of gpus) gpu.run(Infinity);
}

class Gpu {
  /** Models whose weights it has, the least recently used first. */
  readonly #resident = new Set<number>();
  readonly #queue: Batch[] = [];
  readonly #gpu: { readonly workerId: number; readonly gpuId: number };
  #freeNs = 0;
  #nextActionId = 0;

  constructor(
    readonly number: number,
    readonly capacity: number,
    readonly random: Random,
    readonly onRequest: (record: RequestRecord) => void,
    readonly onAction: (record: ActionRecord) => void,
  ) {
    this.#gpu = {
      workerId: Math.floor(number / GPUS_PER_WORKER),
      gpuId: number % GPUS_PER_WORKER,
    };
  }

  submit(id: number, model: number, nowNs: number): void {
    this.run(nowNs);
    const arrivalNs = Math.round(nowNs);
    const request = { id, arrivalNs, cold: !this.#resident.has(model) };
    const joined = this.#queue.find((batch) =>
      batch.model === model && batch.requests.length < MAX_BATCH
    );
    if (joined !== undefined) joined.requests.push(request);
    else this.#queue.push({ model, requests: [request] });
    if (this.#queue.length > 30) this.#refuse(this.#queue.pop()!, arrivalNs);
  }

  /** Runs what waits and can begin before `nowNs`. */
  run(nowNs: number): void {
    while (this.#queue.length > 0) {
      const batch = this.#queue[0]!;
      const startNs = Math.max(this.#freeNs, batch.requests[0]!.arrivalNs + NETWORK_NS);
      if (startNs >= nowNs) return;
      this.#queue.shift();
      if (startNs > batch.requests[0]!.arrivalNs + SLO_NS - 15 * MS) this.#refuse(batch, startNs);
      else this.#serve(batch, startNs);
    }
  }

  #serve({ model, requests }: Batch, startNs: number): void {
    const cold = !this.#resident.delete(model);
    let beginNs = startNs;
    if (cold) {
      if (this.#resident.size >= this.capacity) {
        const [victim] = this.#resident;
        this.#resident.delete(victim!);
        this.#act(EVICT_WEIGHTS, victim!, 0, startNs, 0.01 * MS);
      }
      beginNs = this.#act(LOAD_WEIGHTS, model, 0, startNs, LOAD_NS);
    }
    this.#resident.add(model);
    const expectedNs = (1.6 + 1.7 * requests.length) * MS;
    const endNs = this.#act(INFER, model, requests.length, beginNs, expectedNs);
    this.#freeNs = endNs;
    for (const { id, arrivalNs, cold } of requests) {
      this.#answer(id, model, arrivalNs, endNs + NETWORK_NS, RequestStatus.success, cold);
    }
  }

  #act(
    type: number,
    modelId: number,
    batchSize: number,
    beginNs: number,
    expected: number,
  ): number {
    // Nearly always right, rarely far off, as on a real GPU.
    const off = this.random.float() < 0.001 ? 5 * MS * this.random.float() : 0;
    const tookNs = Math.round(expected * (1 + 0.01 * (this.random.float() - 0.5)) + off);
    const endNs = beginNs + tookNs;
    const sentNs = beginNs - NETWORK_NS;
    const decided = {
      gpu: this.#gpu,
      modelId,
      expectedNs: expected,
      expectedEndNs: beginNs + expected + 0.05 * MS * (this.random.float() - 0.5),
      queued: this.#queue.length,
      copiesLoaded: 1,
    };
    this.onAction({
      actionId: this.#nextActionId++,
      type,
      action: type === INFER
        ? { ...decided, type: "Infer", batchSize }
        : { ...decided, type: type === LOAD_WEIGHTS ? "LoadWeights" : "EvictWeights" },
      status: 0,
      sentNs,
      beginNs,
      endNs,
      copyOutputEndNs: type === INFER ? endNs : 0,
      receivedByWorkerNs: beginNs,
      sentByWorkerNs: endNs,
      enqueuedNs: endNs + NETWORK_NS,
      gpuClockBefore: 0,
      gpuClock: 0,
      goodput: 1,
    });
    return endNs;
  }

  #refuse({ model, requests }: Batch, nowNs: number): void {
    for (const { id, arrivalNs, cold } of requests) {
      this.#answer(id, model, arrivalNs, nowNs, RequestStatus.skipped, cold);
    }
  }

  #answer(
    requestId: number,
    modelId: number,
    arrivalNs: number,
    departureNs: number,
    status: number,
    cold: boolean,
  ): void {
    this.onRequest({
      requestId,
      userId: 0,
      modelId,
      sloFactor: 0,
      arrivalNs,
      deadlineNs: arrivalNs + SLO_NS,
      departureNs,
      status,
      arrivalCount: 0,
      departureCount: 0,
      cold,
    });
  }
}
