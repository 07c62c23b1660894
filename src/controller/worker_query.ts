/** Asks a new worker for its state, and empties its caches. */
import { type Clock, MS, SECOND } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Header } from "../wire/messages.ts";
import type { WorkerPeer } from "./worker_peer.ts";

export type WorkerState = Header<"GetWorkerStateResult">;

/** Time a worker has to report its state, and then to empty its caches. Start-up waits for every worker. */
const STATE_LIMIT_NS = 10 * SECOND;
/** Long enough for the worker to give up a hung GPU. */
const CLEAR_LIMIT_NS = 60 * SECOND;
/** Pause before asking a worker again to empty its caches. */
const CLEAR_RETRY_NS = 100 * MS;

/**
 * Asks a worker for its state, reports it as soon as it is known, and calls `ready` with it once no weights
 * are left on its GPUs. A worker that does not report its state, or does not empty its caches, is
 * disconnected.
 */
export function queryWorker(
  clock: Clock,
  log: Log,
  peer: WorkerPeer,
  told: (state: WorkerState) => void,
  ready: (state: WorkerState) => void,
): void {
  if (peer.lost) return;
  const limit = clock.at(clock.now() + STATE_LIMIT_NS, () => {
    peer.link.close(`it has not told its state within ${STATE_LIMIT_NS / SECOND} s`);
  });
  peer.send("GetWorkerState", {}, (result) => {
    limit.cancel();
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
  let said = "it does not answer";
  const limit = clock.at(clock.now() + CLEAR_LIMIT_NS, () => {
    peer.link.close(`it has not emptied its caches within ${CLEAR_LIMIT_NS / SECOND} s: ${said}`);
  });
  const ask = (): void => {
    peer.send("ClearCache", {}, (result) => {
      if (peer.lost) return limit.cancel();
      if (result.kind === "ClearCacheResult") {
        limit.cancel();
        return done();
      }
      const why = result.kind === "ErrorResult" ? result.header.message : `it sent ${result.kind}`;
      if (why !== said) log(`Worker ${peer.id} has not emptied its caches yet: ${why}`);
      said = why;
      clock.at(clock.now() + CLEAR_RETRY_NS, ask);
    });
  };
  ask();
}
