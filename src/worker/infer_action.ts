/** Infer: runs one batch on weights that are on the GPU. */
import { ActionStatus } from "../core/status.ts";
import { DEFAULT_FRAME_LIMITS } from "../wire/frame.ts";
import type { Header, Timing } from "../wire/messages.ts";
import { payloads } from "../wire/payload_pool.ts";
import { Action, type Arrival, type Engine } from "./action.ts";
import { type Failure, type InferOutcome, isFailure, type Span } from "./backend.ts";
import type { Gpu } from "./gpu.ts";
import type { HostMemory } from "./host_memory.ts";
import type { Model } from "./model_registry.ts";

export class InferAction extends Action<"Infer"> {
  readonly #gpu: Gpu;
  readonly #model: Model;
  readonly #batch: Batch;
  readonly #memory: HostMemory;

  /** @param memory has taken `batch.hostBytes` for this action, which gives them back. */
  constructor(
    arrival: Arrival<"Infer">,
    gpu: Gpu,
    model: Model,
    batch: Batch,
    memory: HostMemory,
  ) {
    super(arrival);
    this.#gpu = gpu;
    this.#model = model;
    this.#batch = batch;
    this.#memory = memory;
  }

  get tooLateStatus(): Failure["status"] {
    return ActionStatus.execTooLate;
  }

  start(_nowNs: number, engine: Engine): void {
    const modelId = this.#model.id;
    if (this.#gpu.lost !== null) {
      this.fail(ActionStatus.runtimeError, this.#gpu.lost);
      engine.release(this);
      return;
    }
    const resident = this.#gpu.resident(modelId);
    if (resident?.state !== "loaded") {
      const why = resident === undefined ? "are not on" : `are still ${resident.state} on`;
      this.fail(
        ActionStatus.weightsNotPresent,
        `the weights of model ${modelId} ${why} GPU ${this.#gpu.id}; send LoadWeights, and wait ` +
          "for its result",
      );
      engine.release(this);
      return;
    }
    const done = (outcome: InferOutcome | Failure) => {
      if (this.ended) return;
      resident.executing = false;
      if (isFailure(outcome)) this.fail(outcome.status, outcome.message);
      else this.#succeed(outcome);
      engine.release(this);
    };
    resident.executing = true;
    const { backend, id } = this.#gpu;
    try {
      backend.infer(
        id,
        this.#model.backendModel,
        modelId,
        this.#batch.size,
        this.#batch.inputs,
        done,
      );
    } catch (error) {
      resident.executing = false;
      throw error;
    }
  }

  protected override onEnd(): void {
    payloads.release(this.#batch.payload);
    this.#memory.release(this.#batch.hostBytes);
  }

  #succeed(outcome: InferOutcome): void {
    const { requests } = this.#batch;
    let { outputs } = outcome;
    if (outputs.length < requests) {
      this.fail(
        ActionStatus.runtimeError,
        `the backend made ${outputs.length} outputs for ${requests} requests`,
      );
      return;
    }
    if (outputs.length > requests) outputs = outputs.slice(0, requests);
    this.succeed(
      {
        gpu_id: this.#gpu.id,
        copy_input: timing(outcome.copyInput),
        exec: timing(outcome.exec),
        copy_output: timing(outcome.copyOutput),
        output_sizes: outputs.map((output) => output.length),
        gpu_clock_before: 0,
        gpu_clock: 0,
      },
      outputs,
    );
  }
}

/** A span as it is told to the controller. */
export function timing({ beginNs, endNs }: Span): Timing {
  return { begin_ns: beginNs, end_ns: endNs, duration_ns: endNs - beginNs };
}

/** What an Infer action asks for, once it has been found sensible. */
export interface Batch {
  /** Requests in it, each of which gets one output. */
  readonly requests: number;
  /** Batch size that runs: supported by the model and at least the one asked for. */
  readonly size: number;
  /** One blob a request, views of the payload; null when the backend is to make inputs. */
  readonly inputs: readonly Uint8Array[] | null;
  /** What `inputs` are views of; its memory is used again once the action has ended. */
  readonly payload: Uint8Array;
  /** Host memory that its inputs and outputs take. */
  readonly hostBytes: number;
}

/** What stands in the way of a batch. */
export interface BatchLimits {
  readonly allowZeroSizeInputs: boolean;
  /** Device memory for the inputs and outputs of one batch, in bytes. */
  readonly ioPoolBytes: number;
}

/** Reads the batch of an Infer action for `model`, or says what is wrong with it. */
export function readBatch(
  header: Pick<Header<"Infer">, "batch_size" | "input_sizes">,
  payload: Uint8Array,
  model: Model,
  limits: BatchLimits,
): Batch | Failure {
  const { batch_size, input_sizes } = header;
  const { batchSizes, inputBytes, outputBytes } = model.backendModel;
  const size = batch_size === 0 ? undefined : batchSizes.find((size) => size >= batch_size);
  if (size === undefined) {
    return {
      status: ActionStatus.invalidBatchSize,
      message: `batch size ${batch_size}: model ${model.id} runs batches of 1 to ` +
        `${batchSizes.at(-1)}`,
    };
  }
  const requests = input_sizes.length;
  if (requests < 1 || requests > batch_size) {
    return badSizes(`${requests} inputs for a batch size of ${batch_size}: expected 1 to it`);
  }
  const inputs = readInputs(input_sizes, payload, inputBytes, limits.allowZeroSizeInputs);
  if (inputs !== null && "status" in inputs) return inputs;
  const poolBytes = size * (inputBytes + outputBytes);
  if (poolBytes > limits.ioPoolBytes) {
    return {
      status: ActionStatus.copyInputPoolExhausted,
      message: `a batch of ${size} takes ${poolBytes} bytes of the I/O pool, which has ` +
        `${limits.ioPoolBytes}; raise io_pool_size in the worker's configuration`,
    };
  }
  if (requests * outputBytes > DEFAULT_FRAME_LIMITS.maxPayloadBytes) {
    return {
      status: ActionStatus.copyOutputHostAllocation,
      message:
        `${requests} outputs of ${outputBytes} bytes do not fit into one result, which takes ` +
        `${DEFAULT_FRAME_LIMITS.maxPayloadBytes} bytes; send smaller batches`,
    };
  }
  return { requests, size, inputs, payload, hostBytes: payload.length + requests * outputBytes };
}

function readInputs(
  sizes: readonly number[],
  payload: Uint8Array,
  inputBytes: number,
  allowZeroSize: boolean,
): readonly Uint8Array[] | null | Failure {
  const expected = sizes[0] === 0 && allowZeroSize ? 0 : inputBytes;
  for (let i = 0; i < sizes.length; i++) {
    if (sizes[i] !== expected) {
      return badSizes(
        `input ${i} has ${sizes[i]} bytes, expected ${expected}` +
          (sizes[i] === 0 ? " (inputs of size zero are off: allow_zero_size_inputs)" : ""),
      );
    }
  }
  if (payload.length !== expected * sizes.length) {
    return badSizes(
      `the payload has ${payload.length} bytes, but its inputs should have ` +
        `${expected * sizes.length}`,
    );
  }
  if (expected === 0 && inputBytes > 0) return null;
  const inputs = new Array<Uint8Array>(sizes.length);
  for (let i = 0; i < sizes.length; i++) {
    inputs[i] = payload.subarray(i * expected, (i + 1) * expected);
  }
  return inputs;
}

function badSizes(message: string): Failure {
  return { status: ActionStatus.copyInputBadSizes, message };
}
