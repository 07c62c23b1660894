/** Answers for requests that the controller, or the connection to it, has refused. */
import type { Failure } from "../client/result.ts";
import { RequestStatus } from "../core/status.ts";
import { HttpError } from "./http_error.ts";

/** Seconds after which it makes sense to try again. */
const RETRY_AFTER = { "retry-after": "1" };

/**
 * @param late whether the request's deadline has passed.
 * @param connected whether the client that refused it still stands: then it was a limit of its own.
 */
export function httpErrorOf(failure: Failure, late: boolean, connected: boolean): HttpError {
  const { status, message } = failure;
  if (failure.from === "client") {
    return connected
      ? new HttpError(429, message, RETRY_AFTER)
      : new HttpError(503, message, RETRY_AFTER);
  }
  switch (status) {
    case RequestStatus.timeout:
    case RequestStatus.skipped:
    case RequestStatus.couldNotStartInTime:
      // All three are said before anything has run: there is too much to do for the deadline.
      return late
        ? new HttpError(504, `the deadline has passed: ${message}`)
        : new HttpError(429, `it could not be in time: ${message}`, RETRY_AFTER);
    case RequestStatus.overloaded:
      return new HttpError(429, message, RETRY_AFTER);
    case RequestStatus.initializing:
    case RequestStatus.unavailable:
      return new HttpError(503, message, RETRY_AFTER);
    case RequestStatus.invalidRequest:
      return new HttpError(400, message);
    default:
      return new HttpError(500, message);
  }
}
