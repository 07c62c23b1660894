/**
 * The loaded models as a controller describes them: more than LS returns, and only when something has
 * changed.
 */
import type { Datatype } from "../core/datatype.ts";
import type { Header, Tensor } from "../wire/messages.ts";
import { isBatched, requestShape, tensorBytes } from "../wire/signature.ts";

/** An input or output of a model. */
export interface TensorDescription {
  readonly name: string;
  readonly datatype: Datatype;
  /** Of one request's share: without the batch dimension. */
  readonly shape: readonly number[];
  /** Whether the model has a batch dimension before those of `shape`. */
  readonly batched: boolean;
  /** Of one request's share. */
  readonly bytes: number;
}

/** Copies of a model that were loaded together. */
export interface ModelDescription {
  /** Of the first copy; the others' follow it. */
  readonly id: number;
  readonly copies: number;
  readonly path: string;
  readonly status: "ready" | "unavailable" | "unloading";
  /** One request's input holds these one after the other, in this order. */
  readonly inputs: readonly TensorDescription[];
  readonly outputs: readonly TensorDescription[];
  readonly inputBytes: number;
  readonly outputBytes: number;
  readonly weightsBytes: number;
  readonly weightsPages: number;
  readonly loadWeightsNs: number;
  readonly batchSizes: readonly number[];
  /** By the model's profile, one for each of `batchSizes`. */
  readonly execNs: readonly number[];
}

export type ControllerState = "initializing" | "serving" | "draining";

export interface Catalogue {
  /** For the next question, see `Client.describeModels`. */
  readonly revision: number;
  readonly state: ControllerState;
  /** What requests have that say nothing of their deadline. */
  readonly defaultSloNs: number;
  readonly models: readonly ModelDescription[];
}

type Answer = Header<"DescribeModelsResponse">;

/** Puts the parts of a catalogue together, which come one after the other. */
export function catalogueReader(knownRevision: number | null) {
  const models: ModelDescription[] = [];
  let first: Answer | null = null;
  let nextId = 0;
  return {
    /** What to ask with: a part that follows another is wanted in any case. */
    get knownRevision(): number {
      return first === null ? knownRevision ?? 0 : 0;
    },

    /** Returns whether there is more to ask for, from the answer's `next_model_id` on. */
    take(answer: Answer): boolean {
      first ??= answer;
      for (const model of answer.models) models.push(read(model));
      // Ids that do not ascend would never end.
      const more = answer.next_model_id > nextId;
      nextId = answer.next_model_id;
      return more;
    },

    /**
     * All that has come. Where models changed meanwhile, a part may be of before and a part of after it;
     * the revision, which is the first part's, is an old one then.
     */
    get catalogue(): Catalogue | null {
      const { revision, state, default_slo_ns } = first!;
      if (revision === knownRevision) return null;
      return {
        revision,
        state: state === "serving" || state === "draining" ? state : "initializing",
        defaultSloNs: default_slo_ns,
        models,
      };
    },
  };
}

function read(model: Answer["models"][number]): ModelDescription {
  const { model_status: status } = model;
  return {
    id: model.model_id,
    copies: model.no_of_copies,
    path: model.model_path,
    status: status === "ready" || status === "unloading" ? status : "unavailable",
    inputs: model.inputs.map(readTensor),
    outputs: model.outputs.map(readTensor),
    inputBytes: model.input_size,
    outputBytes: model.output_size,
    weightsBytes: model.weights_size,
    weightsPages: model.num_weights_pages,
    loadWeightsNs: model.weights_load_time_ns,
    batchSizes: model.supported_batch_sizes,
    execNs: model.exec_times_ns,
  };
}

function readTensor(tensor: Tensor): TensorDescription {
  const { name, datatype } = tensor;
  return {
    name,
    // The controller has refused models with others, and has our version.
    datatype: datatype as Datatype,
    shape: requestShape(tensor),
    batched: isBatched(tensor),
    bytes: tensorBytes(tensor),
  };
}
