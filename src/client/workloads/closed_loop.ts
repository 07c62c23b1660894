import { MS } from "../../core/clock.ts";
import type { InferOptions, Model } from "../client.ts";
import type { Result } from "../result.ts";
import type { Run } from "./workload.ts";

export interface ClosedLoopOptions {
  /** Requests kept outstanding. */
  readonly concurrency: number;
  /** Requests in all; the loop finishes when they have settled. Without it, it goes on. */
  readonly requests?: number;
  readonly infer?: InferOptions;
  readonly finished?: () => void;
}

/** Pause after a request that could not be sent, when asking again at once would only spin. */
const REFUSED_PAUSE_NS = MS;

/**
 * Keeps a number of requests outstanding: each that settles is followed by the next, to the models in
 * turn. The load follows the speed of the server, so it never queues more than its concurrency.
 */
export function closedLoop(
  run: Run,
  models: readonly Model[],
  { concurrency, requests = Infinity, infer = {}, finished }: ClosedLoopOptions,
): void {
  let sent = 0;
  let settled = 0;
  let turn = 0;
  const next = () => {
    if (run.stopped || sent >= requests) return;
    sent++;
    const model = models[turn]!;
    turn = (turn + 1) % models.length;
    run.infer(model, infer, onSettled);
  };
  const onSettled = (result: Result<Uint8Array>) => {
    settled++;
    if (settled === requests) finished?.();
    if (!result.ok && result.from === "client") {
      run.clock.at(run.clock.now() + REFUSED_PAUSE_NS, next);
    } else next();
  };
  for (let i = 0; i < concurrency; i++) next();
}
