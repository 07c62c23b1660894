/** Unloads a model: its requests are served first, then its workers remove it. */
import { type Clock, MS, SECOND } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import { ActionStatus } from "../../core/status.ts";
import { describeAction, describeResult } from "../../wire/describe.ts";
import type { ModelRange } from "./loading.ts";
import type { Serving } from "../serving.ts";
import type { WorkerPeer } from "../worker_peer.ts";

/** How long requests that wait for a model may delay its end; what waits longer is refused. */
const DRAIN_LIMIT_NS = 10 * SECOND;
/** How often it is looked whether they have been answered. */
const DRAIN_CHECK_NS = MS;
/** Pause before a worker that still uses the weights, or has too much to do, is asked again. */
const RETRY_NS = 20 * MS;

/**
 * Refuses new requests for the models of a range, and calls `done` when none is under way any more: at
 * once where none is, and otherwise when those that wait have been served or {@link DRAIN_LIMIT_NS} is over.
 */
function drainModels(
  clock: Clock,
  serving: Serving,
  range: ModelRange,
  done: () => void,
): void {
  const ids = Array.from({ length: range.copies }, (_, i) => range.firstId + i);
  for (const id of ids) serving.retireModel(id);
  const limitNs = clock.now() + DRAIN_LIMIT_NS;
  let removed = false;
  /** Those that have requests. No others come to have any. */
  let busy = ids;
  const check = (): void => {
    busy = busy.filter((id) => serving.unansweredOf(id) > 0);
    if (!removed && (busy.length === 0 || clock.now() >= limitNs)) {
      removed = true;
      for (const id of ids) serving.removeModel(id);
    }
    // What a worker runs ends by itself, or with the worker.
    if (busy.length === 0) done();
    else clock.at(clock.now() + DRAIN_CHECK_NS, check);
  };
  check();
}

/** Has a worker forget copies of a model. `done` is called once: with "", or with what went wrong. */
function unloadOnWorker(
  clock: Clock,
  log: Log,
  peer: WorkerPeer,
  range: ModelRange,
  done: (problem: string) => void,
): void {
  if (peer.lost) return done("");
  const header = { model_id: range.firstId, no_of_copies: range.copies };
  const id = peer.send("UnloadModel", header, (result) => {
    log(`Worker  --> ${describeResult(result)}`);
    if (result.kind === "UnloadModelResult") return done("");
    if (result.kind !== "ErrorResult") return done(`it answered by ${result.kind}`);
    const { status, message } = result.header;
    if (status === ActionStatus.unknownModel || peer.lost) return done("");
    // Cancelled: too many actions wait there. Nobody else will ask, and nothing may begin with the model.
    if (status !== ActionStatus.weightsInUse && status !== ActionStatus.cancelled) {
      return done(message);
    }
    clock.at(clock.now() + RETRY_NS, () => unloadOnWorker(clock, log, peer, range, done));
  });
  log(`Worker <--  ${describeAction({ kind: "UnloadModel", id, header }, clock.now())}`);
}

/** The same for several ranges. `done` is called once, whatever went wrong. */
export function unloadAllOnWorker(
  clock: Clock,
  log: Log,
  peer: WorkerPeer,
  ranges: readonly ModelRange[],
  done: () => void,
): void {
  let waiting = ranges.length;
  if (waiting === 0) return done();
  for (const range of ranges) {
    unloadOnWorker(clock, log, peer, range, () => {
      if (--waiting === 0) done();
    });
  }
}

/**
 * Ends the models of a range: serves what waits for them, then has all workers forget them, those that are
 * connected by then. `done` is called once: with "", or with what went wrong first.
 */
export function unloadEverywhere(
  clock: Clock,
  log: Log,
  serving: Serving,
  peers: () => readonly WorkerPeer[],
  range: ModelRange,
  done: (problem: string) => void,
): void {
  drainModels(clock, serving, range, () => {
    const asked = peers();
    let waiting = asked.length;
    let problem = "";
    if (waiting === 0) return done(problem);
    for (const peer of asked) {
      unloadOnWorker(clock, log, peer, range, (found) => {
        if (found !== "") problem ||= `worker ${peer.id}: ${found}`;
        if (--waiting === 0) done(problem);
      });
    }
  });
}
