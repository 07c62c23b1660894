/** Loads a model on one worker, and validates the answer. */
import { type Clock, SECOND } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import type { ModelSpec } from "../../scheduler/scheduler.ts";
import { describeAction, describeResult } from "../../wire/describe.ts";
import { DEFAULT_FRAME_LIMITS } from "../../wire/frame.ts";
import type { Header, ModelFacts, Signature } from "../../wire/messages.ts";
import { signatureProblem } from "../../wire/signature.ts";
import type { Result, WorkerPeer } from "../worker_peer.ts";

/** How long a load may wait before it starts: a month, in effect without a limit. */
const LOAD_WINDOW_NS = 30 * 86_400 * SECOND;

type WorkerState = Header<"GetWorkerStateResult">;

/** Copies of one model, with consecutive ids. */
export interface ModelRange {
  readonly firstId: number;
  readonly copies: number;
  readonly path: string;
}

/** What a worker tells of a model that it has loaded. */
export type LoadedModel = ModelFacts & Signature;

export interface LoadingLimits {
  readonly maxBatchSize: number;
  readonly maxExecNs: number;
}

/** Told the facts of a model that has been loaded, or what is wrong. */
export type OnLoaded = (facts: LoadedModel | null, problem: string) => void;

/** Loads copies of a model on a worker. `done` is called once: with its facts, or what is wrong. */
export function loadOnWorker(
  clock: Clock,
  log: Log,
  { maxBatchSize, maxExecNs }: LoadingLimits,
  peer: WorkerPeer,
  state: WorkerState,
  { firstId, copies, path }: ModelRange,
  done: OnLoaded,
): void {
  const nowNs = clock.now();
  const header = {
    model_id: firstId,
    no_of_copies: copies,
    model_path: path,
    earliest_ns: nowNs,
    latest_ns: nowNs + LOAD_WINDOW_NS,
    max_batch_size: maxBatchSize,
    max_exec_duration_ns: maxExecNs,
  };
  const id = peer.send("LoadModelFromDisk", header, (result) => {
    log(`Worker  --> ${describeResult(result)}`);
    if (result.kind === "LoadModelFromDiskResult") {
      const problem = result.header.copies_created === copies
        ? problemWith(result.header, state)
        : `it made ${result.header.copies_created} copies of ${copies}`;
      if (problem === null) return done(result.header, "");
      log(`Worker ${peer.id} cannot serve model ${firstId}: ${problem}`);
      done(null, problem);
    } else {
      done(null, failureOf(result));
    }
  });
  log(`Worker <--  ${describeAction({ kind: "LoadModelFromDisk", id, header }, nowNs)}`);
}

/**
 * Loads copies of a model on workers. `done` is called once: with the facts that the first of them
 * reported, null if all failed; with what those that could, and are still there, have; and with the first
 * problem.
 */
export function loadOnWorkers<W extends { readonly peer: WorkerPeer }>(
  log: Log,
  load: (worker: W, range: ModelRange, done: OnLoaded) => void,
  workers: readonly W[],
  range: ModelRange,
  done: (
    facts: LoadedModel | null,
    specs: ReadonlyMap<number, ModelSpec>,
    problem: string,
  ) => void,
): void {
  const specs = new Map<number, ModelSpec>();
  let first: LoadedModel | null = null;
  let firstProblem = "";
  let waiting = workers.length;
  for (const worker of workers) {
    const { peer } = worker;
    load(worker, range, (facts, problem) => {
      if (facts !== null && first !== null && !sameSizes(facts, first)) {
        problem =
          "its model of that path has other sizes than the first worker's: the files differ";
        log(`Worker ${peer.id} cannot serve model ${range.firstId}: ${problem}`);
      } else if (facts !== null) {
        first ??= facts;
        specs.set(peer.id, specOf(facts));
      }
      if (problem !== "") firstProblem ||= `worker ${peer.id}: ${problem}`;
      if (--waiting > 0) return;
      // Who has loaded it may have been lost while others still did.
      for (const { peer } of workers) if (peer.lost) specs.delete(peer.id);
      done(first, specs, firstProblem);
    });
  }
}

/** Whether two workers' models of one path take the same inputs and give the same outputs, in size. */
export function sameSizes(a: ModelFacts, b: ModelFacts): boolean {
  return a.input_size === b.input_size && a.output_size === b.output_size;
}

/**
 * The facts of a model that the worker has from before, as it says; null if it must be loaded.
 * @throws {Error} when other models have its ids there.
 */
export function factsFromState(
  state: WorkerState,
  { firstId, copies, path }: ModelRange,
): LoadedModel | null {
  const held = state.models.filter(({ model_id }) =>
    model_id >= firstId && model_id < firstId + copies
  );
  if (held.length === 0) return null;
  if (held.length === copies && held.every(({ model_path }) => model_path === path)) {
    const { signature, ...told } = held[0]!;
    const facts = { ...told, ...(state.signatures[signature] ?? NO_SIGNATURE) };
    const problem = problemWith(facts, state);
    if (problem === null) return facts;
    throw new Error(problem);
  }
  throw new Error(`it has other models with ids from ${firstId} on: restart it`);
}

function failureOf(result: Result): string {
  return result.kind === "ErrorResult" ? result.header.message : `it answered by ${result.kind}`;
}

/** Stands for one that a worker should have told and has not: it fits no model. */
const NO_SIGNATURE: Signature = { inputs: [], outputs: [] };

/** What is wrong with what a worker says of a model; null if nothing is. */
function problemWith(facts: LoadedModel, { gpus }: WorkerState): string | null {
  const sizes = facts.supported_batch_sizes;
  if (sizes[0] !== 1 || sizes.some((size, i) => i > 0 && size <= sizes[i - 1]!)) {
    return `its batch sizes do not ascend from 1: ${sizes.join(" ")}`;
  }
  const times = facts.exec_times_ns;
  if (times.length !== sizes.length || !times.every((ns) => ns > 0)) {
    return `its execution times are not one for each batch size: ${times.join(" ")} ns`;
  }
  if (facts.weights_load_time_ns < 0) {
    return `its weights take ${facts.weights_load_time_ns} ns to load`;
  }
  const mismatch = signatureProblem(facts, facts);
  if (mismatch !== null) return mismatch;
  const pages = Math.max(0, ...gpus.map((gpu) => gpu.weights_cache_pages));
  if (facts.num_weights_pages > pages) {
    return `its weights take ${facts.num_weights_pages} pages, and a GPU has ${pages}`;
  }
  return null;
}

/** A worker's facts as the scheduler takes them: without batches that no message could carry. */
export function specOf(facts: ModelFacts): ModelSpec {
  const largest = Math.max(facts.input_size, facts.output_size);
  const { maxPayloadBytes } = DEFAULT_FRAME_LIMITS;
  const fitting = facts.supported_batch_sizes.filter((size) => size * largest <= maxPayloadBytes);
  const count = Math.max(1, fitting.length);
  return {
    weightsPages: facts.num_weights_pages,
    batchSizes: facts.supported_batch_sizes.slice(0, count),
    execNs: facts.exec_times_ns.slice(0, count),
    loadWeightsNs: facts.weights_load_time_ns,
    inputBytes: facts.input_size,
    outputBytes: facts.output_size,
  };
}
