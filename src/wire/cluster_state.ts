/** The live state of a cluster, as a message's header. All of it is bounded, to about half a megabyte. */
import { type HeaderOf, list, nanoseconds, record, text, uint } from "./schema.ts";

/** Rows of each kind in one answer: what people can look at, and no more. */
export const MAX_STATE_WORKERS = 500;
export const MAX_STATE_GPUS = 1000;
export const MAX_STATE_MODELS = 200;
export const MAX_STATE_SECONDS = 300;
export const MAX_STATE_ACTIONS = 2000;
export const MAX_STATE_EVENTS = 100;
/** Longest name and longest message in them, in characters; longer ones are cut. */
export const MAX_STATE_NAME = 256;
export const MAX_STATE_MESSAGE = 300;

const id = uint();
const count = uint(Number.MAX_SAFE_INTEGER);
const numbers = list(count, MAX_STATE_ACTIONS);
const times = list(nanoseconds, MAX_STATE_ACTIONS);

/** Actions, column by column: row i of them is the i-th value of each list. */
const actions = record({
  action_id: numbers,
  /** 1 LoadWeights, 2 Infer, 3 EvictWeights. */
  action_type: numbers,
  worker_id: numbers,
  gpu_id: numbers,
  model_id: numbers,
  batch_size: numbers,
  planned_begin_ns: times,
  planned_end_ns: times,
  status: numbers,
  /** As they were; 0 for those that failed, or are not over. */
  begin_ns: times,
  end_ns: times,
});

export const clusterState = {
  /** What to ask with, to be told only of what comes after this. */
  cursor: count,
  /** "initializing", "serving" or "draining". */
  state: text(32),
  /** The controller's clock, as all times here. */
  now_ns: nanoseconds,
  unanswered: count,
  no_of_models: count,
  no_of_workers: count,
  no_of_gpus: count,
  workers: list(
    record({
      worker_id: id,
      address: text(MAX_STATE_NAME),
      /** The controller's clock less the worker's. */
      clock_offset_ns: nanoseconds,
      round_trip_ns: nanoseconds,
    }),
    MAX_STATE_WORKERS,
  ),
  gpus: list(
    record({
      worker_id: id,
      gpu_id: id,
      name: text(MAX_STATE_NAME),
      pages: count,
      used_pages: count,
      loaded_models: count,
      in_flight: count,
      /** Time spent on inferences and on weight loads since somebody watches. */
      infer_ns: nanoseconds,
      load_ns: nanoseconds,
    }),
    MAX_STATE_GPUS,
  ),
  /** One for all copies of a path; those with most requests come first. Figures are of the last 30 to 60 s. */
  model_figures: list(
    record({
      model_path: text(MAX_STATE_NAME),
      no_of_copies: count,
      answered: count,
      in_time: count,
      cold_starts: count,
      p50_ns: nanoseconds,
      p99_ns: nanoseconds,
    }),
    MAX_STATE_MODELS,
  ),
  /** Those that have changed: of each, what became of the requests that were answered in it. */
  seconds: list(
    record({
      /** Of the controller's clock. */
      second: count,
      in_time: count,
      late: count,
      refused: count,
      cold_starts: count,
      p50_ns: nanoseconds,
      p99_ns: nanoseconds,
    }),
    MAX_STATE_SECONDS,
  ),
  /** Those that have ended. */
  actions,
  /** All that are under way. */
  planned_actions: actions,
  events: list(
    record({ at_ns: nanoseconds, count, message: text(MAX_STATE_MESSAGE) }),
    MAX_STATE_EVENTS,
  ),
};

export type ClusterState = HeaderOf<typeof clusterState>;
