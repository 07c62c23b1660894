import type { Request } from "../scheduler/scheduler.ts";
import type { TracedRequest } from "../telemetry/records.ts";
import type { ClientSession } from "./client_session.ts";

/** A request that a client is waiting for. */
export class PendingRequest implements Request {
  /** Whether it counts towards its user's limits. */
  admitted = false;
  /** Bytes of the input that came with it: none if the controller makes it. */
  broughtBytes = 0;

  constructor(
    readonly requestId: number,
    readonly session: ClientSession,
    /** The client's id for it. */
    readonly clientRequestId: number,
    readonly userId: number,
    readonly modelId: number,
    readonly sloFactor: number,
    readonly arrivalNs: number,
    readonly deadlineNs: number,
    readonly input: Uint8Array,
    readonly arrivalCount: number,
    readonly cold: boolean,
    /** GPU time that it takes if it runs alone. */
    readonly costNs: number,
    /** Its trace context, if it is traced. */
    readonly trace: string | undefined,
  ) {}

  get inputBytes(): number {
    return this.input.length;
  }
}

export const NOT_TRACED: readonly TracedRequest[] = [];

/** The traced requests of a batch: usually none. */
export function tracedAmong(requests: readonly PendingRequest[]): readonly TracedRequest[] {
  let traced: TracedRequest[] | null = null;
  for (const { requestId, trace } of requests) {
    if (trace !== undefined) (traced ??= []).push({ requestId, trace });
  }
  return traced ?? NOT_TRACED;
}
