/**
 * A loaded copy of a model, as the controller knows it. The client has one object for each, and updates it
 * if a restarted controller has given the model another id.
 */
export interface Model {
  readonly id: number;
  readonly path: string;
  /** Bytes of one request's input: its tensors concatenated in the order the model declares. */
  readonly inputBytes: number;
  readonly outputBytes: number;
}

export interface InferOptions {
  /**
   * Time allowed from now in nanoseconds; left out, the controller's default. For as long a request waits
   * for a connection that is being made again; one whose deadline the client does not know does not wait.
   */
  readonly deadlineNs?: number;
  /** Allowed time as a multiple of the model's batch-1 execution time; wins over `deadlineNs`. */
  readonly sloFactor?: number;
  /** Where the request is traced: its W3C trace context, as in a `traceparent` header. */
  readonly trace?: string;
}

/** No payload: the controller or the worker makes the input. */
export const NO_INPUT: readonly Uint8Array[] = [];
