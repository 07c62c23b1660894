import type { InferOptions, Model } from "../model.ts";
import type { Run } from "../workloads/workload.ts";
import type { Arrivals } from "./arrivals.ts";

/** The request of one arrival. */
export interface Target {
  readonly model: Model;
  readonly options: InferOptions;
}

const NO_OPTIONS: InferOptions = {};

/**
 * Sends a request at each arrival, whatever has become of those before. The schedule is absolute, so
 * that it does not drift; all that is due when the clock wakes us is sent then, so that 20 000 a second
 * take far fewer wake-ups. Requests that cannot be sent are dropped and counted: see {@link Run.offer}.
 *
 * @param pick chooses for one arrival, given the value of its segment.
 * @param finished called at the end of the last segment, if there is a last one.
 */
export function openLoop<T>(
  run: Run,
  arrivals: Arrivals<T>,
  pick: (value: T) => Model | Target,
  finished?: () => void,
): void {
  const startNs = run.clock.now();
  let nextNs = startNs + arrivals.next();
  const wake = () => {
    if (run.stopped) return;
    // Read once: what falls due meanwhile waits for the next turn, or answers could never be read.
    const nowNs = run.clock.now();
    while (nextNs <= nowNs) {
      const target = pick(arrivals.segment.value);
      if ("model" in target) run.offer(target.model, target.options, nowNs - nextNs);
      else run.offer(target, NO_OPTIONS, nowNs - nextNs);
      nextNs = startNs + arrivals.next();
    }
    sleep();
  };
  const sleep = () => {
    if (nextNs < Infinity) run.clock.at(nextNs, wake);
    else if (arrivals.endNs < Infinity && finished !== undefined) {
      run.clock.at(startNs + arrivals.endNs, finished);
    }
  };
  sleep();
}

/** Picks models in turn. */
export function inTurn(models: readonly Model[]): () => Model {
  let turn = 0;
  return () => {
    const model = models[turn]!;
    turn = (turn + 1) % models.length;
    return model;
  };
}
