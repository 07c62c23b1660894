/** Finds out which batch sizes a model supports by running each, which also warms them up. */
import type { TensorSpec } from "../backend.ts";
import { tensorSpec } from "../model_files.ts";
import { describeError } from "./errors.ts";
import { nextTurn } from "./next_turn.ts";
import type { GraphPlan } from "./plan.ts";
import type { LoadRequest, ThreadSpan } from "./protocol.ts";
import { type RunResult, type ServedModel, TRIAL_COPY } from "./served_model.ts";

/**
 * Warm-up on the CPU before anything is timed. V8 starts with slow WebAssembly code and replaces it function
 * by function, in another thread: times fall by a factor of four, in steps, over a second or more. So runs
 * go on until whole windows of them are no faster than those before.
 */
const WINDOW_MS = 150;
const WINDOW_RUNS = 20;
const STEADY_WINDOWS = 3;
const STEADY_SHARE = 0.97;
const WARM_MS = 3000;
/** How far the first request of a batch may differ from the same request alone. */
const BATCH_TOLERANCE = 0.05;

export interface TriedBatches {
  /** Those that work, ascending from 1. */
  readonly batchSizes: readonly number[];
  /** Whether inputs and outputs have a batch dimension. */
  readonly batched: boolean;
  /** What batch size 1 gave for the seeded input. */
  readonly first: RunResult;
}

/** What outputs look like per request, from a run at batch size 1. */
function outputSpecs(plan: GraphPlan, dims: RunResult["dims"], batched: boolean): TensorSpec[] {
  return plan.outputs.map(({ name, dtype }, i) =>
    tensorSpec(name, dtype, batched ? dims[i]!.slice(1) : dims[i]!, batched)
  );
}

/** Why a run at batch size 2 shows that batching will not do; null when it will. */
function batchFault(plan: GraphPlan, one: RunResult, two: RunResult): string | null {
  for (const [i, { name, dtype }] of plan.outputs.entries()) {
    const expected = [2, ...one.dims[i]!.slice(1)];
    if (one.dims[i]![0] !== 1 || two.dims[i]!.join() !== expected.join()) {
      return `output "${name}" is [${one.dims[i]}] for one request and [${two.dims[i]}] for two, ` +
        "so that it cannot be divided among requests";
    }
    if (dtype !== "float32") continue;
    const alone = new Float32Array(one.buffers[i]!);
    const first = new Float32Array(two.buffers[i]!).subarray(0, alone.length);
    const scale = alone.reduce((max, value) => Math.max(max, Math.abs(value)), 1e-6);
    if (alone.some((value, j) => Math.abs(value - first[j]!) > BATCH_TOLERANCE * scale)) {
      return `output "${name}" of a request depends on its neighbours in the batch`;
    }
  }
  return null;
}

async function warmCpu(run: () => Promise<ThreadSpan>): Promise<void> {
  const endMs = performance.now() + WARM_MS;
  let fastestMs = Infinity;
  for (let steady = 0; steady < STEADY_WINDOWS && performance.now() < endMs;) {
    const windowMs = performance.now() + WINDOW_MS;
    let bestMs = Infinity;
    for (let i = 0; i < WINDOW_RUNS && performance.now() < windowMs; i++) {
      const span = await run();
      bestMs = Math.min(bestMs, span.endMs - span.beginMs);
    }
    steady = bestMs < STEADY_SHARE * fastestMs ? 0 : steady + 1;
    fastestMs = Math.min(fastestMs, bestMs);
  }
}

/**
 * Runs the model at each batch size of the request until one does not do, and sets `model.outputs`.
 * `notes` is told why larger ones are not offered.
 *
 * @throws what batch size 1 throws.
 */
export async function tryBatches(
  model: ServedModel,
  plan: GraphPlan,
  { batchSizes, budgetMs, maxExecMs }: LoadRequest,
  onGpu: boolean,
  notes: string[],
): Promise<TriedBatches> {
  const untilMs = performance.now() + budgetMs;
  const run = async (size: number) => {
    // On the CPU a run ends without a turn of the event loop, so that inferences would not get theirs.
    await nextTurn();
    return await model.run(TRIAL_COPY, size, null);
  };
  const first = await run(1);
  model.outputs = outputSpecs(plan, first.dims, false);
  if (!onGpu) await warmCpu(() => run(1));
  const done = (works: readonly number[], batched: boolean): TriedBatches => {
    model.outputs = outputSpecs(plan, first.dims, batched);
    return { batchSizes: works, batched, first };
  };
  if (!plan.batchable) {
    if (batchSizes.length > 1) {
      notes.push("batch size 1 only: the model's inputs have no open first dimension");
    }
    return done([1], false);
  }
  const divides = first.dims.every((dims) => dims[0] === 1);
  const works = [1];
  try {
    for (const size of batchSizes.slice(1)) {
      if (performance.now() > untilMs) {
        notes.push(
          `batch sizes from ${size} on are not offered: trying them took more than ` +
            `${budgetMs / 1000} s`,
        );
        break;
      }
      if (works.length === 1) {
        model.outputs = [];
        const fault = batchFault(plan, first, await run(2));
        if (fault !== null) {
          notes.push(`batch size 1 only: ${fault}`);
          return done([1], false);
        }
        model.outputs = outputSpecs(plan, first.dims, true);
      }
      let span = await run(size);
      // The first run of a size also compiles and allocates.
      if (span.endMs - span.beginMs > maxExecMs) span = await run(size);
      const tookMs = span.endMs - span.beginMs;
      if (tookMs > maxExecMs) {
        notes.push(tooSlow(size, tookMs, maxExecMs));
        break;
      }
      works.push(size);
    }
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) throw error;
    const size = batchSizes[works.length];
    notes.push(`batch sizes from ${size} on are not offered: ${describeError(error)}`);
  }
  return done(works, divides);
}

/** Why a batch size is not offered. */
export function tooSlow(batchSize: number, execMs: number, maxExecMs: number): string {
  return `batch sizes from ${batchSize} on are not offered: ${execMs.toFixed(1)} ms are more ` +
    `than the ${maxExecMs.toFixed(1)} ms allowed`;
}
