/** Runs one model on a backend, without workers or network, and reports its sizes and times. */
import type { Clock } from "../core/clock.ts";
import {
  type Backend,
  type BackendModel,
  type Done,
  type Failure,
  type InferOutcome,
  isFailure,
  type Span,
} from "./backend.ts";

/** A step that failed. */
export class CheckError extends Error {
  override readonly name = "CheckError";
  readonly status: Failure["status"];

  constructor({ status, message }: Failure) {
    super(message);
    this.status = status;
  }
}

export interface CheckOptions {
  readonly pageBytes: number;
  /** How often each batch size is run, and the weights are loaded. */
  readonly iterations: number;
  /** Larger batch sizes are not run. */
  readonly maxBatchSize: number;
  /** Makes one request's input blob; null for none. May throw. */
  readonly input: ((model: BackendModel) => Uint8Array) | null;
}

/** Times of repeated runs, in nanoseconds. */
export interface Latency {
  readonly medianNs: number;
  /** 99 of 100 runs took no longer. */
  readonly p99Ns: number;
  readonly maxNs: number;
}

/** An element of the first output. */
export interface RankedOutput {
  readonly index: number;
  readonly value: number;
}

export interface CheckReport {
  readonly model: BackendModel;
  readonly pages: number;
  readonly pagedBytes: number;
  readonly loadWeights: Latency;
  /** For each of the model's batch sizes, in the same order. */
  readonly exec: readonly Latency[];
  /** The largest values of the first output for the given input; null without one. */
  readonly top: readonly RankedOutput[] | null;
}

function call<T extends object>(start: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((result) => {
      if (isFailure(result)) reject(new CheckError(result));
      else resolve(result);
    });
  });
}

/** What some times come to; there must be one at least. */
export function summarize(timesNs: readonly number[]): Latency {
  const sorted = timesNs.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const medianNs = (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
  const p99Ns = sorted[Math.ceil(0.99 * sorted.length) - 1]!;
  return { medianNs, p99Ns, maxNs: sorted.at(-1)! };
}

/** The largest `count` values of a model's first output, which must be of floats; else none. */
export function topOutputs(
  model: Pick<BackendModel, "outputs">,
  output: Uint8Array,
  count: number,
): RankedOutput[] {
  const spec = model.outputs[0];
  if (spec?.dtype !== "float32" && spec?.dtype !== "float16") return [];
  const bytes = output.slice(0, spec.bytes).buffer;
  const values = spec.dtype === "float32" ? new Float32Array(bytes) : new Float16Array(bytes);
  return Array.from(values, (value, index) => ({ index, value }))
    .sort((a, b) => b.value - a.value || a.index - b.index)
    .slice(0, count);
}

const COPY = 0;
const GPU = 0;

function durationNs({ beginNs, endNs }: Span): number {
  return endNs - beginNs;
}

/**
 * Loads a model, its weights and runs every batch size.
 *
 * @throws {CheckError} at the first step that fails.
 */
export async function checkModel(
  clock: Clock,
  backend: Backend,
  path: string,
  options: CheckOptions,
): Promise<CheckReport> {
  const limits = { maxBatchSize: options.maxBatchSize, maxExecNs: Number.MAX_SAFE_INTEGER };
  const model = await call<BackendModel>((done) => backend.loadModel(path, limits, done));
  const input = options.input === null ? null : options.input(model);
  const infer = (batchSize: number, inputs: readonly Uint8Array[] | null) =>
    call<InferOutcome>((done) => backend.infer(GPU, model, COPY, batchSize, inputs, done));
  const load = () => call<Span>((done) => backend.loadWeights(GPU, model, COPY, done));
  const evict = () => call<Span>((done) => backend.evictWeights(GPU, model, COPY, done));

  const loads: number[] = [];
  for (let i = 0; i < options.iterations; i++) {
    if (i > 0) await evict();
    loads.push(durationNs(await load()));
  }
  const exec: Latency[] = [];
  for (const batchSize of model.batchSizes) {
    await infer(batchSize, null);
    const timesNs: number[] = [];
    for (let i = 0; i < options.iterations; i++) {
      const beginNs = clock.now();
      const outcome = await infer(batchSize, null);
      // What a request waits for, but never less than the device says it took.
      timesNs.push(Math.max(durationNs(outcome.exec), outcome.copyOutput.endNs - beginNs));
    }
    exec.push(summarize(timesNs));
  }
  let top: RankedOutput[] | null = null;
  if (input !== null) {
    const { outputs } = await infer(1, [input]);
    top = topOutputs(model, outputs[0]!, 5);
  }
  await evict();
  const pages = Math.ceil((model.pagedBytes ?? model.weightsBytes) / options.pageBytes);
  return {
    model,
    pages,
    pagedBytes: pages * options.pageBytes,
    loadWeights: summarize(loads),
    exec,
    top,
  };
}
