/** What a worker has when it comes, and its caches emptied. */
import { type Clock, MS } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Header } from "../wire/messages.ts";
import type { WorkerPeer } from "./worker_peer.ts";

export type WorkerState = Header<"GetWorkerStateResult">;

/** Pause before a worker is asked again to empty its caches. */
const CLEAR_RETRY_NS = 100 * MS;

/**
 * Asks a worker for its state, and tells it as soon as it is known; calls `ready` with it when no weights
 * are on its GPUs any more. A worker that does not tell is disconnected.
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
    // That it is lost has been told already, and what follows from it done.
    if (peer.lost) return;
    if (result.kind !== "GetWorkerStateResult") {
      const why = result.kind === "ErrorResult" ? result.header.message : `it sent ${result.kind}`;
      peer.link.close(`it did not tell its state: ${why}`);
      return;
    }
    const state = result.header;
    told(state);
    // The scheduler counts a GPU's pages from none taken, so what an earlier controller has left there has
    // to go. A worker without models has nothing.
    if (state.models.length > 0) clearCache(clock, log, peer, () => ready(state));
    else ready(state);
  });
}

/** Empties the caches of a worker; weights that are still in use are waited for. */
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
