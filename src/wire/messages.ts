/**
 * All messages of the protocol: their numbers, headers and payloads.
 *
 * Times are in the sender's clock; the receiver translates them (see clock_sync.ts). Sizes are bytes.
 * Tensors are payload, never part of a header: one blob per request, concatenated in order.
 */
import { MAX_TOKEN_LENGTH } from "./access.ts";
import { clusterState } from "./cluster_state.ts";
import {
  dimension,
  type HeaderOf,
  list,
  nanoseconds,
  nonNegative,
  optionalText,
  record,
  secret,
  text,
  uint,
} from "./schema.ts";
import {
  MAX_UPLOAD_FILES,
  MAX_UPLOAD_PATH_LENGTH,
  MAX_UPLOADS_KEPT,
  MAX_UPLOADS_REMOVED,
  UPLOAD_CHUNK_BYTES,
} from "./upload.ts";

/** Raised when a peer could not understand us any more. Peers must have the same number. */
export const PROTOCOL_VERSION = 2;

/** Longest model path, in characters. */
export const MAX_PATH_LENGTH = 4096;
/** Most models that one worker or controller lists, and most copies one request may ask for. */
export const MAX_MODELS = 1_000_000;
/** Longest trace context, in characters. */
export const MAX_TRACE_LENGTH = 64;
/** Most requests in one batch. */
export const MAX_BATCH_SIZE = 4096;
/** Most inputs of one model, and most outputs. */
export const MAX_TENSORS = 256;
/** Longest name of an input or output, in characters. */
export const MAX_TENSOR_NAME_LENGTH = 256;
/** Most dimensions of an input or output. */
export const MAX_DIMENSIONS = 32;
/** Most groups of models that one description holds. */
export const MAX_DESCRIBED = 10_000;
/** Most GPUs of one worker. */
export const MAX_GPUS_PER_WORKER = 4096;
/** Most uploads that a controller lists: workers may have different ones. */
export const MAX_UPLOADS_LISTED = 100_000;
/** Most workers that a request may name. */
export const MAX_CHOSEN_WORKERS = 1024;
/** Longest key of a request, in characters. */
export const MAX_KEY_LENGTH = 64;

const id = uint();
const bytes = uint(Number.MAX_SAFE_INTEGER);
const message = text(4096);
const path = text(MAX_PATH_LENGTH);
/** Chosen by the client: a repeat with the same key gets the first one's answer. "" for none. */
const requestKey = text(MAX_KEY_LENGTH);

/** When an action began and ended, and how long it took. */
const timing = { begin_ns: nanoseconds, end_ns: nanoseconds, duration_ns: nanoseconds };
/** When the worker had the action and when it sent this result. */
const handling = { action_received_ns: nanoseconds, result_sent_ns: nanoseconds };
/** The window in which an action must start. */
const window = { earliest_ns: nanoseconds, latest_ns: nanoseconds };

/** What is known of a model, the same for each of its copies. */
const modelFacts = {
  input_size: bytes,
  output_size: bytes,
  weights_size: bytes,
  num_weights_pages: uint(),
  weights_load_time_ns: nanoseconds,
  supported_batch_sizes: list(uint(MAX_BATCH_SIZE), 64),
  /** One execution time for each of `supported_batch_sizes`. */
  exec_times_ns: list(nanoseconds, 64),
};

/** An input or output. */
const tensor = record({
  name: text(MAX_TENSOR_NAME_LENGTH),
  /** In the Open Inference Protocol's spelling, e.g. FP32; see core/datatype.ts. */
  datatype: text(16),
  /** A first dimension of -1 is the batch's: one request's share is what follows it. */
  shape: list(dimension, MAX_DIMENSIONS),
});

/** What a model takes and gives: the blobs of a request hold these tensors in this order. */
const signature = {
  inputs: list(tensor, MAX_TENSORS),
  outputs: list(tensor, MAX_TENSORS),
};

/** The files of an uploaded model: see upload.ts. */
const uploadFiles = list(
  record({ name: text(100), size: bytes, sha256: text(64) }),
  MAX_UPLOAD_FILES,
);
/** Of an upload. */
const storedPath = text(MAX_UPLOAD_PATH_LENGTH);
/** A piece of a file, counted from 0, in the payload; each file's pieces are sent in their order. */
const piece = { upload_id: id, file: uint(MAX_UPLOAD_FILES - 1), offset: bytes };
/** Ends an upload: the files are kept when `keep` is 1 and they are whole, and forgotten otherwise. */
const uploadEnd = { upload_id: id, keep: uint(1) };

/** What a worker tells of a model that it has loaded. */
export const checkLoadedModel = record({ ...modelFacts, ...signature });

/**
 * Message kinds and their headers. Actions are numbered 16 + the action's type, their results
 * 32 + type; requests 64 + type, their responses 80 + type.
 */
const kinds = {
  /** First message of both sides. */
  Hello: {
    number: 1,
    header: record({
      version: uint(),
      role: text(32),
      /** Of the side that connects; "" for none. */
      token: secret(MAX_TOKEN_LENGTH),
    }),
  },
  /** Sent now and then, so that clock estimates stay fresh and dead peers are noticed. */
  Ping: { number: 2, header: record({}) },
  /** Last message before a side closes, with the reason. */
  Goodbye: { number: 3, header: record({ message }) },

  // Actions: controller -> worker.
  LoadModelFromDisk: {
    number: 16,
    header: record({
      model_id: id,
      /** Makes model ids model_id … model_id + no_of_copies - 1. */
      no_of_copies: uint(MAX_MODELS),
      model_path: path,
      ...window,
      max_batch_size: uint(MAX_BATCH_SIZE),
      max_exec_duration_ns: nanoseconds,
    }),
  },
  LoadWeights: {
    number: 17,
    header: record({ model_id: id, gpu_id: id, ...window, expected_duration_ns: nanoseconds }),
  },
  /** Payload: one blob a request; all of size zero when the worker is to make inputs. */
  Infer: {
    number: 18,
    header: record({
      model_id: id,
      gpu_id: id,
      batch_size: uint(MAX_BATCH_SIZE),
      input_sizes: list(bytes, MAX_BATCH_SIZE),
      ...window,
      expected_duration_ns: nanoseconds,
    }),
  },
  EvictWeights: { number: 19, header: record({ model_id: id, gpu_id: id, ...window }) },
  ClearCache: { number: 20, header: record({}) },
  GetWorkerState: { number: 21, header: record({}) },
  /** Forgets the models that there are of model_id … model_id + no_of_copies - 1. */
  UnloadModel: { number: 22, header: record({ model_id: id, no_of_copies: uint(MAX_MODELS) }) },
  /** Announces the files of a model: their pieces follow, unless the worker has them already. */
  BeginUpload: {
    number: 23,
    header: record({ upload_id: id, model_name: text(100), files: uploadFiles }),
  },
  UploadChunk: { number: 24, header: record(piece) },
  EndUpload: { number: 25, header: record(uploadEnd) },
  /** Asks for a piece of an uploaded model's file; of 0 bytes, for what files there are. */
  ReadUpload: {
    number: 26,
    header: record({
      model_path: path,
      file: uint(MAX_UPLOAD_FILES - 1),
      offset: bytes,
      length: uint(UPLOAD_CHUNK_BYTES),
    }),
  },

  /** Asks which uploads the worker has. */
  ListUploads: { number: 27, header: record({}) },
  /** Removes uploads that no model of the worker needs; those that are not there are no mistake. */
  RemoveUploads: {
    number: 28,
    header: record({ model_paths: list(storedPath, MAX_UPLOADS_REMOVED) }),
  },

  // Results: worker -> controller, with the action's id.
  LoadModelFromDiskResult: {
    number: 32,
    header: record({
      ...handling,
      ...timing,
      copies_created: uint(MAX_MODELS),
      ...modelFacts,
      ...signature,
    }),
  },
  LoadWeightsResult: { number: 33, header: record({ ...handling, ...timing }) },
  /** Payload: one output blob a request. */
  InferResult: {
    number: 34,
    header: record({
      ...handling,
      gpu_id: id,
      copy_input: record(timing),
      exec: record(timing),
      copy_output: record(timing),
      output_sizes: list(bytes, MAX_BATCH_SIZE),
      /** Clock of the GPU in MHz, 0 where it cannot be known. */
      gpu_clock_before: nonNegative,
      gpu_clock: nonNegative,
    }),
  },
  EvictWeightsResult: { number: 35, header: record({ ...handling, ...timing }) },
  ClearCacheResult: { number: 36, header: record({ ...handling }) },
  GetWorkerStateResult: {
    number: 37,
    header: record({
      ...handling,
      page_size: bytes,
      gpus: list(
        record({
          name: text(256),
          weights_cache_size: bytes,
          weights_cache_pages: uint(),
          io_pool_size: bytes,
          workspace_pool_size: bytes,
          /** Ids of the models whose weights are on this GPU. */
          models: list(id, MAX_MODELS),
        }),
        MAX_GPUS_PER_WORKER,
      ),
      /** Of all models; those that are equal stand here once. */
      signatures: list(record(signature), MAX_MODELS),
      models: list(
        record({
          model_id: id,
          model_path: path,
          ...modelFacts,
          /** Which of `signatures`, counted from 0. */
          signature: uint(),
        }),
        MAX_MODELS,
      ),
    }),
  },
  UnloadModelResult: { number: 38, header: record({ ...handling }) },
  /** `complete` is 1 when the worker has it all. */
  BeginUploadResult: { number: 39, header: record({ ...handling, complete: uint(1) }) },
  UploadChunkResult: { number: 40, header: record({ ...handling }) },
  EndUploadResult: { number: 41, header: record({ ...handling }) },
  /** Payload: the piece. `files` only where 0 bytes were asked for. */
  ReadUploadResult: { number: 42, header: record({ ...handling, files: uploadFiles }) },
  ListUploadsResult: {
    number: 43,
    header: record({
      ...handling,
      uploads: list(record({ model_path: storedPath, size: bytes }), MAX_UPLOADS_KEPT),
    }),
  },
  /** How many were there and are not any more; `message` says which could not be removed, and why. */
  RemoveUploadsResult: {
    number: 44,
    header: record({ ...handling, no_of_uploads: uint(MAX_UPLOADS_REMOVED), message }),
  },
  /** Any action that failed. `action_type` is the failed action's kind number less 16. */
  ErrorResult: {
    number: 47,
    header: record({ ...handling, action_type: uint(255), status: uint(255), message }),
  },

  // Requests: client -> controller.
  /** Payload: the input, or nothing when inputs are disabled. */
  InferRequest: {
    number: 64,
    header: record({
      user_id: id,
      model_id: id,
      batch_size: uint(MAX_BATCH_SIZE),
      /** Time allowed from now, used when slo_factor is 0; 0 for the controller's default. */
      deadline_ns: nonNegative,
      /** The allowed time as a multiple of the model's batch-1 execution time; 0 for none. */
      slo_factor: nonNegative,
      /** Of a request that is traced: its W3C trace context, as in a `traceparent` of HTTP. */
      trace: optionalText(MAX_TRACE_LENGTH),
    }),
  },
  EvictRequest: { number: 65, header: record({ user_id: id, model_id: id }) },
  LsRequest: { number: 66, header: record({ user_id: id }) },
  LoadModelRequest: {
    number: 67,
    header: record({
      user_id: id,
      model_path: path,
      no_of_copies: uint(MAX_MODELS),
      /** Numbers or addresses of the workers that are to have it; none for all. */
      workers: list(text(256), MAX_CHOSEN_WORKERS),
      key: requestKey,
    }),
  },
  UnloadModelRequest: {
    number: 68,
    header: record({
      user_id: id,
      model_id: id,
      no_of_copies: uint(MAX_MODELS),
      key: requestKey,
    }),
  },
  /** Answered in every phase of the controller, with part of the models where they are many. */
  DescribeModelsRequest: {
    number: 69,
    header: record({
      user_id: id,
      /** Models with smaller ids are left out. */
      model_id: id,
      /** As the last answer said it, to be told only of changes; 0 to be told anyway. */
      revision: bytes,
    }),
  },

  /** Answered in every phase of the controller. */
  ClusterStateRequest: {
    number: 70,
    header: record({
      /** As the last answer said it; 0 to be told all. */
      cursor: bytes,
    }),
  },

  /** Announces the files of a model: their pieces follow, unless the answer says that all have them. */
  BeginUploadRequest: {
    number: 71,
    header: record({
      user_id: id,
      model_name: text(100),
      files: uploadFiles,
      /** Numbers or addresses of the workers that are to have it; none for all. */
      workers: list(text(256), MAX_CHOSEN_WORKERS),
    }),
  },
  UploadChunkRequest: { number: 72, header: record(piece) },
  EndUploadRequest: { number: 73, header: record(uploadEnd) },

  ListUploadsRequest: { number: 74, header: record({ user_id: id }) },
  /** Has all workers remove an upload of which no copies are loaded, also those that come later. */
  RemoveUploadRequest: { number: 75, header: record({ user_id: id, model_path: path }) },

  // Responses: controller -> client, with the request's id.
  /** Payload: the output. */
  InferResponse: { number: 80, header: record({ output_size: bytes }) },
  EvictResponse: { number: 81, header: record({}) },
  LsResponse: {
    number: 82,
    header: record({
      models: list(
        record({ model_id: id, model_path: path, input_size: bytes, output_size: bytes }),
        MAX_MODELS,
      ),
    }),
  },
  LoadModelResponse: {
    number: 83,
    header: record({
      model_id: id,
      copies_created: uint(MAX_MODELS),
      input_size: bytes,
      output_size: bytes,
    }),
  },
  UnloadModelResponse: { number: 84, header: record({}) },
  DescribeModelsResponse: {
    number: 85,
    header: record({
      /** Becomes larger whenever something in these answers changes. */
      revision: bytes,
      /** "initializing", "serving" or "draining". */
      state: text(32),
      default_slo_ns: nonNegative,
      /** None when the request's revision is still the present one. Copies with consecutive ids are one. */
      models: list(
        record({
          model_id: id,
          no_of_copies: uint(MAX_MODELS),
          model_path: path,
          /** "ready", "unavailable" while no worker has it, or "unloading". */
          model_status: text(32),
          ...modelFacts,
          ...signature,
        }),
        MAX_DESCRIBED,
      ),
      /** What to ask from for the models that found no room; 0 when that was all. */
      next_model_id: id,
    }),
  },
  ClusterStateResponse: { number: 86, header: record(clusterState) },
  BeginUploadResponse: {
    number: 87,
    header: record({ upload_id: id, model_path: path, complete: uint(1) }),
  },
  /** All workers have it: another may be sent. */
  UploadChunkResponse: { number: 88, header: record({}) },
  /** `message` says which workers have not got it, and why. */
  EndUploadResponse: {
    number: 89,
    header: record({ model_path: path, no_of_workers: uint(), message }),
  },
  ListUploadsResponse: {
    number: 90,
    header: record({
      uploads: list(
        record({
          model_path: storedPath,
          size: bytes,
          no_of_workers: uint(),
          no_of_copies: uint(MAX_MODELS),
        }),
        MAX_UPLOADS_LISTED,
      ),
    }),
  },
  /** Of how many workers it was removed; `message` says which others still have it, and why. */
  RemoveUploadResponse: { number: 91, header: record({ no_of_workers: uint(), message }) },
  /** Any request that failed. `request_type` is the failed request's kind number less 64. */
  ErrorResponse: {
    number: 95,
    header: record({ request_type: uint(255), status: uint(255), message }),
  },
} as const;

export type Kind = keyof typeof kinds;
/** The header of a message of kind K. */
export type Header<K extends Kind> = ReturnType<typeof kinds[K]["header"]>;
/** A message, whatever carried it. */
export interface Message<K extends Kind = Kind> {
  readonly kind: K;
  /** Of the action or request; a result or response repeats it. 0 where there is nothing to match. */
  readonly id: number;
  readonly header: Header<K>;
  readonly payload: Uint8Array;
}
/** A message whose `kind` tells the type of its `header`. */
export type AnyMessage = { [K in Kind]: Message<K> }[Kind];

export const KIND_NUMBERS = Object.fromEntries(
  Object.entries(kinds).map(([kind, { number }]) => [kind, number]),
) as Record<Kind, number>;

const byNumber = new Map<number, Kind>(
  Object.entries(kinds).map(([kind, { number }]) => [number, kind as Kind]),
);

/** The kind that has this number, or undefined. */
export function kindOf(number: number): Kind | undefined {
  return byNumber.get(number);
}

/** Returns `value` as the header of a message of `kind`; throws HeaderError naming what is wrong. */
export function checkHeader<K extends Kind>(kind: K, value: unknown): Header<K> {
  return kinds[kind].header(value, kind) as Header<K>;
}

/** Facts of a model as they appear in several messages. */
export type ModelFacts = HeaderOf<typeof modelFacts>;
/** What a model takes and gives. */
export type Signature = HeaderOf<typeof signature>;
/** An input or output of a model. */
export type Tensor = Signature["inputs"][number];
export type Timing = HeaderOf<typeof timing>;
