/** LoadModelFromDisk: reads a model and registers it under its ids. Weights stay in host memory. */
import type { Clock } from "../core/clock.ts";
import { ActionStatus } from "../core/status.ts";
import { MAX_BATCH_SIZE } from "../wire/messages.ts";
import type { Header } from "../wire/messages.ts";
import { Action, type Arrival, type Engine } from "./action.ts";
import { type Backend, type BackendModel, type Failure, isFailure } from "./backend.ts";
import { timing } from "./infer_action.ts";
import { modelFacts, type ModelRegistry } from "./model_registry.ts";
import { signatureOf, signatureRefusal } from "./signature.ts";

/** Most batch sizes that a model's facts can list on the wire. */
const MAX_BATCH_SIZES = 64;

/** What reading a model needs of the worker. */
export interface LoadModelContext {
  readonly clock: Clock;
  readonly backend: Backend;
  readonly registry: ModelRegistry;
  readonly pageBytes: number;
  /** Told what people should know of a model that was read, e.g. that it runs in a slower way. */
  readonly onNote: (note: string) => void;
}

export class LoadModelAction extends Action<"LoadModelFromDisk"> {
  readonly #header: Header<"LoadModelFromDisk">;
  readonly #context: LoadModelContext;

  constructor(
    arrival: Arrival<"LoadModelFromDisk">,
    header: Header<"LoadModelFromDisk">,
    context: LoadModelContext,
  ) {
    super(arrival);
    this.#header = header;
    this.#context = context;
  }

  get tooLateStatus(): Failure["status"] {
    return ActionStatus.couldNotStartInTime;
  }

  start(nowNs: number, engine: Engine): void {
    const { model_id, no_of_copies, model_path, max_batch_size, max_exec_duration_ns } =
      this.#header;
    const refusal = this.#context.registry.refusal(model_id, no_of_copies, model_path);
    if (refusal !== null) {
      this.fail(refusal.status, refusal.message);
      engine.release(this);
      return;
    }
    const done = (result: BackendModel | Failure) => {
      if (this.ended) return;
      if (isFailure(result)) this.fail(result.status, result.message);
      else this.#register(result, nowNs);
      engine.release(this);
    };
    const options = { maxBatchSize: max_batch_size, maxExecNs: max_exec_duration_ns };
    this.#context.backend.loadModel(model_path, options, done);
  }

  #register(model: BackendModel, beginNs: number): void {
    const { clock, backend, registry, pageBytes, onNote } = this.#context;
    const problem = problemOf(model, backend.gpus.length);
    if (problem !== null) {
      backend.unloadModel(model);
      this.fail(ActionStatus.runtimeError, `the backend misread ${model.source}: ${problem}`);
      return;
    }
    const signature = signatureOf(model);
    const refusal = signatureRefusal(signature);
    if (refusal !== null) {
      backend.unloadModel(model);
      this.fail(ActionStatus.runtimeError, `${model.source} cannot be served: ${refusal}`);
      return;
    }
    const { model_id, no_of_copies, model_path } = this.#header;
    const facts = modelFacts(model, pageBytes);
    registry.add(model_id, no_of_copies, model_path, model, facts, signature);
    this.succeed({
      ...facts,
      ...signature,
      ...timing({ beginNs, endNs: clock.now() }),
      copies_created: no_of_copies,
    });
    for (const note of model.notes) onNote(`${model_path}: ${note}`);
  }
}

/** What is wrong with the header of a LoadModelFromDisk, whatever the worker's state, or null. */
export function loadModelProblem(header: Header<"LoadModelFromDisk">): Failure | null {
  const invalid = (message: string) => ({ status: ActionStatus.invalidAction, message });
  if (header.no_of_copies < 1) return invalid("no_of_copies is 0; expected at least 1");
  if (header.max_batch_size < 1) return invalid("max_batch_size is 0; expected at least 1");
  if (!(header.max_exec_duration_ns > 0)) {
    return invalid(`max_exec_duration_ns is ${header.max_exec_duration_ns}; expected more than 0`);
  }
  if (header.model_path === "") {
    return { status: ActionStatus.invalidModelPath, message: "the model's path is empty" };
  }
  return null;
}

/** Which promise of BackendModel a backend has broken, or null: the controller relies on them. */
function problemOf(model: BackendModel, gpus: number): string | null {
  const { batchSizes, profiles } = model;
  if (batchSizes[0] !== 1 || batchSizes.length > MAX_BATCH_SIZES) {
    return `batch sizes ${
      batchSizes.slice(0, 5)
    } (${batchSizes.length}) do not begin with 1, or are ` +
      `more than ${MAX_BATCH_SIZES}`;
  }
  if (batchSizes.some((size, i) => size > MAX_BATCH_SIZE || size <= (batchSizes[i - 1] ?? 0))) {
    return `batch sizes ${batchSizes} do not ascend to at most ${MAX_BATCH_SIZE}`;
  }
  if (profiles.length !== gpus) return `${profiles.length} profiles for ${gpus} GPUs`;
  for (const { loadWeightsNs, execNs } of profiles) {
    if (execNs.length !== batchSizes.length) {
      return `${execNs.length} execution times for ${batchSizes.length} batch sizes`;
    }
    if (![loadWeightsNs, ...execNs].every((ns) => ns >= 0 && ns <= Number.MAX_SAFE_INTEGER)) {
      return "a time that is not a number of nanoseconds";
    }
  }
  return null;
}
