/** Translates and validates the results of workers. */
import { MS } from "../core/clock.ts";
import { ActionStatus } from "../core/status.ts";
import type { ActionOutcome } from "../scheduler/scheduler.ts";

/** Translates a time from the peer's clock to ours; 0, which stands for none, stays 0. */
export function local(sync: { toLocal(ns: number): number }, ns: number): number {
  return ns === 0 ? 0 : sync.toLocal(ns);
}

/**
 * What a worker reports, in our time. Predictions are based on it, so implausible results count as
 * failures: a single absurd time could keep a GPU from ever being used.
 */
export function ran(
  { begin_ns, end_ns }: { readonly begin_ns: number; readonly end_ns: number },
  offsetNs: number,
  sentNs: number,
  nowNs: number,
): ActionOutcome {
  const durationNs = end_ns - begin_ns;
  // Clocks may run at slightly different speeds, and the emulated worker's times are exact whereas ours are
  // late.
  if (!(durationNs >= 0 && durationNs <= 1.01 * (nowNs - sentNs) + MS)) {
    return failure(
      ActionStatus.runtimeError,
      `the worker says it took ${durationNs} ns, of the ${nowNs - sentNs} ns that passed`,
    );
  }
  // It ended before we heard of it, even if the estimated clock offset is slightly wrong.
  const endNs = Math.max(sentNs, Math.min(end_ns + offsetNs, nowNs));
  return { status: ActionStatus.success, message: "", beginNs: endNs - durationNs, endNs };
}

export function failure(status: number, message: string): ActionOutcome {
  // A success without its result is a failure.
  const known = status === ActionStatus.success ? ActionStatus.runtimeError : status;
  return { status: known as ActionStatus, message, beginNs: 0, endNs: 0 };
}

/** Splits a payload into one output of `bytes` per request; null if the sizes do not match. */
export function split(
  payload: Uint8Array,
  sizes: readonly number[],
  requests: number,
  bytes: number,
): Uint8Array[] | null {
  if (sizes.length !== requests) return null;
  const outputs: Uint8Array[] = [];
  let offset = 0;
  for (const size of sizes) {
    if (size !== bytes) return null;
    outputs.push(payload.subarray(offset, offset + size));
    offset += size;
  }
  return offset === payload.length ? outputs : null;
}
