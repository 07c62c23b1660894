/** What the models of a cluster need from its controller. */
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import type { ControllerOptions } from "../options.ts";
import type { Serving } from "../serving.ts";
import type { WorkerPeer } from "../worker_peer.ts";
import type { WorkerState } from "../worker_query.ts";
import type { ModelGroup } from "./groups.ts";
import type { Refusal } from "./request_keys.ts";

/** A worker that is connected. */
export interface Worker {
  readonly peer: WorkerPeer;
  /** Null until it has told it. */
  state: WorkerState | null;
}

/** One that may be asked to do something. */
export interface ReadyWorker {
  readonly peer: WorkerPeer;
  readonly state: WorkerState;
}

export interface ModelsHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly options: ControllerOptions;
  readonly serving: Serving;
  /** Why nothing can be loaded or unloaded now; null when it can. */
  refusal(what: "load" | "unload"): Refusal | null;
  /** Those that have told their state. */
  ready(): readonly ReadyWorker[];
  /** Serves a group's models, if it is time to: they are new, or others can run them than before. */
  serve(group: ModelGroup): void;
  /** A load has begun or ended: see `Models.loading`. */
  onLoad(): void;
}
