/** What a controller is told when it is made. */
import { DEFAULT_USER_POLICY, type UserPolicy } from "./admission.ts";

export interface ControllerOptions {
  readonly defaultSloNs: number;
  /** Batch sizes that take longer than this are not used, in nanoseconds. */
  readonly maxExecNs: number;
  readonly maxBatchSize: number;
  readonly generateInputs: boolean;
  /** Unanswered requests at a time. */
  readonly maxRequests: number;
  /** Bytes of their inputs, all together. */
  readonly maxInputBytes: number;
  readonly users: UserPolicy;
  /** Models, copies included. */
  readonly maxModels: number;
  /** Bytes of one uploaded model. */
  readonly maxUploadBytes: number;
  /** A model to load without being asked to, for schedulers that have no clients. */
  readonly preload: { readonly path: string; readonly copies: number } | null;
}

export const DEFAULT_CONTROLLER_OPTIONS: ControllerOptions = {
  defaultSloNs: 100_000_000,
  maxExecNs: 250_000_000,
  maxBatchSize: 8,
  generateInputs: false,
  maxRequests: 100_000,
  maxInputBytes: 2 * 2 ** 30,
  users: DEFAULT_USER_POLICY,
  maxModels: 1_000_000,
  maxUploadBytes: 4 * 2 ** 30,
  preload: null,
};
