/** Asks a new worker for its state, and empties its caches. */
import { type Clock, MS } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Header } from "../wire/messages.ts";
import type { WorkerPeer } from "./worker_peer.ts";

export type WorkerState = Header<"GetWorkerStateResult">;

/** Pause before asking a worker again to empty its caches. */
const CLEAR_RETRY_NS = 100 * MS;

/**
 * Asks a worker for its state, reports it as soon as it is known, and calls `ready` with it once no weights
 * are left on its GPUs. A worker that does not report its state is disconnected.
 */
export function queryWorker(
  clock: Clock,
  log: Log,
  peer: WorkerPeer,
  told: (state: WorkerState) => void,
  ready: (state: WorkerState) => void,
): void {
  if (peer.lost) return;
  peer.send("GetWorkerState", {}, (result) => {
    // Its loss has already been reported and handled.
    if (peer.lost) return;
    if (result.kind !== "GetWorkerStateResult") {
      const why = result.kind === "ErrorResult" ? result.header.message : `it sent ${result.kind}`;
      peer.link.close(`it did not tell its state: ${why}`);
      return;
    }
    const state = result.header;
    told(state);
    // The scheduler assumes that all pages of a GPU are free, so weights of an earlier controller must be
    // removed. A worker without models has none.
    if (state.models.length > 0) clearCache(clock, log, peer, () => ready(state));
    else ready(state);
  });
}

/** Empties the caches of a worker; waits for weights that are still in use. */
function clearCache(clock: Clock, log: Log, peer: WorkerPeer, done: () => void): void {
  if (peer.lost) return;
  peer.send("ClearCache", {}, (result) => {
    if (peer.lost) return;
    if (result.kind === "ClearCacheResult") return done();
    const why = result.kind === "ErrorResult" ? result.header.message : `it sent ${result.kind}`;
    log(`Worker ${peer.id} has not emptied its caches yet: ${why}`);
    clock.at(clock.now() + CLEAR_RETRY_NS, () => clearCache(clock, log, peer, done));
  });
}
