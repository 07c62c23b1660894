/** Options of a gateway. */
import { SECOND } from "../core/clock.ts";

export interface GatewayLimits {
  /** Of one request's body, as it comes and decompressed, in bytes. */
  readonly maxBodyBytes: number;
  /** Of the bodies of all requests that are being served. */
  readonly maxBufferedBytes: number;
  /** Requests that are being served at a time; further ones are refused. */
  readonly maxRequests: number;
  /** Time for a request's body to come, in nanoseconds. */
  readonly bodyTimeoutNs: number;
  /** Largest batch of one request. */
  readonly maxBatchSize: number;
}

export const DEFAULT_GATEWAY_LIMITS: GatewayLimits = {
  maxBodyBytes: 64 * 2 ** 20,
  maxBufferedBytes: 512 * 2 ** 20,
  maxRequests: 1024,
  bodyTimeoutNs: 30 * SECOND,
  maxBatchSize: 256,
};
