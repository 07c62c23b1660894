import { MS } from "../../core/clock.ts";

export interface Infer4Options {
  /** An action is sent to a GPU at most this long before it can start, in nanoseconds. */
  readonly scheduleAheadNs: number;
  /** How much later than predicted an action may start before the worker rejects it. */
  readonly latestDeltaNs: number;
  /** Batch sizes above this are not used. */
  readonly maxBatchSize: number;
  /** Number of GPUs to use; those that are added later stay idle. */
  readonly maxGpus: number;
}

export const DEFAULT_INFER4_OPTIONS: Infer4Options = {
  scheduleAheadNs: 10 * MS,
  latestDeltaNs: 10 * MS,
  maxBatchSize: 8,
  maxGpus: 100,
};
