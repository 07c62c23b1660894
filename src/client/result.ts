/** The result of a client's request. */
import { RequestStatus } from "../core/status.ts";

/**
 * Status of a request whose connection was lost, or whose client was closed, after it was sent and before
 * the answer: it may or may not have been executed. No controller can send it: the wire holds up to 255.
 */
export const UNDECIDED = 256;

/** A request that succeeded. */
export interface Success<T> {
  readonly ok: true;
  readonly value: T;
  /** From the call to the answer, in nanoseconds of the client's clock. */
  readonly latencyNs: number;
}

/** A request that was refused, failed, or lost its connection. */
export interface Failure {
  readonly ok: false;
  /** Who refused it. If the client did, it was never sent, unless the status is {@link UNDECIDED}. */
  readonly from: "controller" | "client";
  /** A {@link RequestStatus}, or {@link UNDECIDED}; a newer controller may send others. */
  readonly status: number;
  /** For people: what was wrong. */
  readonly message: string;
  readonly latencyNs: number;
}

export type Result<T> = Success<T> | Failure;

/** Called exactly once for each request, and never before the call that made it has returned. */
export type Done<T> = (result: Result<T>) => void;

const statusNames = new Map<number, string>([
  ...Object.entries(RequestStatus).map(([name, status]) => [status, name] as const),
  [UNDECIDED, "undecided"],
]);

/** A status in words, e.g. "skipped (7)". */
export function describeStatus(status: number): string {
  const name = statusNames.get(status);
  if (name === undefined) return `status ${status}`;
  return `${name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)} (${status})`;
}

/** A failure as an exception, for the client with promises. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly status: number;
  readonly from: Failure["from"];

  constructor(what: string, failure: Failure) {
    super(`${what} failed: ${failure.message || describeStatus(failure.status)}`);
    this.status = failure.status;
    this.from = failure.from;
  }
}
