/** What a worker's results mean, and what they must be to mean anything. */
import { MS } from "../core/clock.ts";
import { ActionStatus } from "../core/status.ts";
import type { ActionOutcome } from "../scheduler/scheduler.ts";

/** A time of the peer's clock in ours; 0, which stands for none, stays 0. */
export function local(sync: { toLocal(ns: number): number }, ns: number): number {
  return ns === 0 ? 0 : sync.toLocal(ns);
}

/**
 * What a worker says it did, in our time. Predictions build on this, so what cannot be true counts as a
 * failure: one absurd time would keep a GPU from being used for good.
 */
export function ran(
  { begin_ns, end_ns }: { readonly begin_ns: number; readonly end_ns: number },
  offsetNs: number,
  sentNs: number,
  nowNs: number,
): ActionOutcome {
  const durationNs = end_ns - begin_ns;
  // Clocks may differ in speed a little, and the emulated worker's times are exact where ours are late.
  if (!(durationNs >= 0 && durationNs <= 1.01 * (nowNs - sentNs) + MS)) {
    return failure(
      ActionStatus.runtimeError,
      `the worker says it took ${durationNs} ns, of the ${nowNs - sentNs} ns that passed`,
    );
  }
  // It ended before we heard of it, even if the estimate of the clocks' offset is a little off.
  const endNs = Math.max(sentNs, Math.min(end_ns + offsetNs, nowNs));
  return { status: ActionStatus.success, message: "", beginNs: endNs - durationNs, endNs };
}

export function failure(status: number, message: string): ActionOutcome {
  // A success without its result is none.
  const known = status === ActionStatus.success ? ActionStatus.runtimeError : status;
  return { status: known as ActionStatus, message, beginNs: 0, endNs: 0 };
}

/** Cuts a payload into one output of `bytes` a request; null if the sizes are not that. */
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
