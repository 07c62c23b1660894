/** Measures the durations that a controller must predict, of a model that has been warmed up. */
import { nextTurn } from "./next_turn.ts";
import type { KnownTimes, LoadRequest, ThreadSpan } from "./protocol.ts";
import { type ServedModel, TRIAL_COPY } from "./served_model.ts";
import { tooSlow } from "./try_batches.ts";

/** Runs that make a profile, if they fit in the time. */
const MEASURED_RUNS = 10;
/** About how long the runs of one batch size may take, in milliseconds. */
const MEASURED_MS = 300;

export interface Measurement {
  readonly batchSizes: readonly number[];
  readonly execMs: readonly number[];
  readonly loadWeightsMs: number;
  readonly measured: boolean;
}

/**
 * The time to predict from some measured ones: their 80th percentile. The slowest tell what else the
 * machine did at that moment, which would stay in the profile for good.
 */
export function predictedMs(timesMs: readonly number[]): number {
  return timesMs.toSorted((a, b) => a - b)[Math.ceil(0.8 * timesMs.length) - 1]!;
}

/**
 * Times some runs: three at least, unless the whole load is out of time, and no more once they have taken
 * long enough.
 */
async function measureRuns(run: () => Promise<ThreadSpan>, untilMs: number): Promise<number> {
  const beginMs = performance.now();
  const timesMs: number[] = [];
  for (let i = 0; i < MEASURED_RUNS; i++) {
    const nowMs = performance.now();
    if (i > 0 && (nowMs > untilMs || (i >= 3 && nowMs - beginMs > MEASURED_MS))) break;
    const span = await run();
    timesMs.push(span.endMs - span.beginMs);
  }
  return predictedMs(timesMs);
}

/** Times the loading of the weights and each batch size, as far as `known` does not say. */
export async function measure(
  model: ServedModel,
  batchSizes: readonly number[],
  { budgetMs, maxExecMs }: LoadRequest,
  known: KnownTimes | null,
  notes: string[],
): Promise<Measurement> {
  const untilMs = performance.now() + budgetMs;
  let measured = false;
  let loadWeightsMs = known?.loadWeightsMs;
  if (loadWeightsMs === undefined) {
    measured = true;
    loadWeightsMs = await measureRuns(async () => {
      model.evictWeights(TRIAL_COPY);
      return await model.loadWeights(TRIAL_COPY);
    }, untilMs);
  }
  const execMs: number[] = [];
  for (const size of batchSizes) {
    let ms = known?.execMs[size];
    if (ms === undefined) {
      measured = true;
      ms = await measureRuns(async () => {
        await nextTurn();
        return await model.run(TRIAL_COPY, size, null);
      }, untilMs);
    }
    if (size > 1 && ms > maxExecMs) {
      notes.push(tooSlow(size, ms, maxExecMs));
      break;
    }
    execMs.push(ms);
  }
  return { batchSizes: batchSizes.slice(0, execMs.length), execMs, loadWeightsMs, measured };
}
