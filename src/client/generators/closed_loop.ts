import { MS } from "../../core/clock.ts";
import type { InferOptions, Model } from "../model.ts";
import type { Result } from "../result.ts";
import type { Run } from "../workloads/workload.ts";
import { burstAt, type Bursts } from "./segments.ts";

export interface ClosedLoopOptions {
  /** Requests kept outstanding. */
  readonly concurrency: number;
  /** Requests in all; the loop finishes when they have settled. Without it, it goes on. */
  readonly requests?: number;
  /** Options of each request, given the time since the start in nanoseconds. */
  readonly infer?: (timeNs: number) => InferOptions;
  /** Sends only within these bursts. */
  readonly bursts?: Bursts;
  readonly finished?: () => void;
}

/**
 * Pause after a failed request, doubled with each further one in a row up to the maximum. A refusal
 * comes at once, so that asking again at once would keep client and controller busy with nothing else.
 */
const FIRST_PAUSE_NS = MS;
const MAX_PAUSE_NS = 256 * MS;

const noOptions = (): InferOptions => ({});

/**
 * Keeps a number of requests outstanding: each that settles is followed by the next, to the models in
 * turn. The load follows the speed of the server, so it never queues more than its concurrency.
 */
export function closedLoop(
  run: Run,
  models: readonly Model[],
  { concurrency, requests = Infinity, infer = noOptions, bursts, finished }: ClosedLoopOptions,
): void {
  const random = run.random.fork();
  const startNs = run.clock.now();
  let sent = 0;
  let settled = 0;
  let turn = 0;
  const next = (failures: number) => {
    if (run.stopped || sent >= requests) return;
    const timeNs = run.clock.now() - startNs;
    if (bursts !== undefined) {
      const { on, endNs } = burstAt(bursts, timeNs);
      if (!on) return void run.clock.at(startNs + endNs, () => next(failures));
    }
    sent++;
    const model = models[turn]!;
    turn = (turn + 1) % models.length;
    run.infer(model, infer(timeNs), (result) => onSettled(result, failures));
  };
  const onSettled = (result: Result<Uint8Array>, failures: number) => {
    settled++;
    if (settled === requests) finished?.();
    if (result.ok) return next(0);
    const pauseNs = Math.min(FIRST_PAUSE_NS * 2 ** failures, MAX_PAUSE_NS);
    // Not all at the same time, as requests that were refused together would come back together.
    const pausedNs = pauseNs * (0.5 + random.float());
    run.clock.at(run.clock.now() + pausedNs, () => next(failures + 1));
  };
  for (let i = 0; i < concurrency; i++) next(0);
}
