/**
 * Actions and results as lines of text, the same in the worker's and the controller's output.
 *
 * Everything here is a pure function of headers. Times are printed in milliseconds, sizes in binary
 * units, as the system has always printed them.
 */
import { MS } from "../core/clock.ts";
import { printable } from "../core/log.ts";
import { uploadBytes, type UploadFile } from "./upload.ts";
import type { AnyMessage, Header, Kind, ModelFacts } from "./messages.ts";

/** The messages a controller sends to a worker. */
export type ActionKind =
  | "LoadModelFromDisk"
  | "LoadWeights"
  | "Infer"
  | "EvictWeights"
  | "ClearCache"
  | "GetWorkerState"
  | "UnloadModel"
  | "BeginUpload"
  | "UploadChunk"
  | "EndUpload"
  | "ReadUpload"
  | "ListUploads"
  | "RemoveUploads";

/** What a worker answers: the action's own result, or an error. */
export type ResultKind = `${ActionKind}Result` | "ErrorResult";

/** The kinds of action, at the index that is their type on the wire. */
export const ACTION_KINDS: readonly ActionKind[] = [
  "LoadModelFromDisk",
  "LoadWeights",
  "Infer",
  "EvictWeights",
  "ClearCache",
  "GetWorkerState",
  "UnloadModel",
  "BeginUpload",
  "UploadChunk",
  "EndUpload",
  "ReadUpload",
  "ListUploads",
  "RemoveUploads",
];

/** A message of one of the kinds `K`, whose `kind` tells the type of its header. */
export type MessageOf<K extends Kind> = Extract<AnyMessage, { kind: K }>;

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** A size with one decimal: `describeBytes(23085449216)` is "21.5 GB", with a space before the unit. */
export function describeBytes(bytes: number, space = " "): string {
  if (bytes >= GIB) return `${(bytes / GIB).toFixed(1)}${space}GB`;
  if (bytes >= MIB) return `${(bytes / MIB).toFixed(1)}${space}MB`;
  if (bytes >= KIB) return `${(bytes / KIB).toFixed(1)}${space}KB`;
  return `${bytes}${space}B`;
}

/** Nanoseconds as milliseconds with one decimal, without a unit. */
export function describeMs(ns: number): string {
  return (ns / MS).toFixed(1);
}

/** `[earliest, latest]` in milliseconds from now; what is past reads as 0.0. */
function describeWindow(
  { earliest_ns, latest_ns }: { readonly earliest_ns: number; readonly latest_ns: number },
  nowNs: number,
): string {
  const from = describeMs(Math.max(0, earliest_ns - nowNs));
  return `[${from}, ${describeMs(Math.max(0, latest_ns - nowNs))}]`;
}

/**
 * An action as one line, e.g. `A0:LoadModelFromDisk model=0 [0.0, 10000.0] PATH`.
 *
 * @param nowNs the present in the clock of the action's sender: windows are shown relative to it.
 */
export function describeAction(
  action: Pick<MessageOf<ActionKind>, "kind" | "id" | "header">,
  nowNs: number,
): string {
  return printable(actionLine(action as MessageOf<ActionKind>, nowNs));
}

function actionLine({ kind, id, header }: MessageOf<ActionKind>, nowNs: number): string {
  const name = `A${id}:${kind}`;
  switch (kind) {
    case "LoadModelFromDisk":
      return `${name} model=${header.model_id} ${describeWindow(header, nowNs)} ` +
        header.model_path;
    case "LoadWeights":
      return `${name} model=${header.model_id} gpu=${header.gpu_id} ` +
        `${describeWindow(header, nowNs)} expected=${describeMs(header.expected_duration_ns)}`;
    case "Infer":
      return `${name} model=${header.model_id} gpu=${header.gpu_id} batch=${header.batch_size} ` +
        `${describeWindow(header, nowNs)} expected=${describeMs(header.expected_duration_ns)}`;
    case "EvictWeights":
      return `${name} model=${header.model_id} gpu=${header.gpu_id} ` +
        describeWindow(header, nowNs);
    case "UnloadModel":
      return `${name} model=${header.model_id} copies=${header.no_of_copies}`;
    case "BeginUpload":
      return `${name} upload=${header.upload_id} ${header.model_name} ` +
        describeFiles(header.files);
    case "UploadChunk":
      return `${name} upload=${header.upload_id} file=${header.file} offset=${header.offset}`;
    case "EndUpload":
      return `${name} upload=${header.upload_id}${header.keep === 1 ? "" : " cancelled"}`;
    case "ReadUpload":
      return `${name} ${header.model_path} file=${header.file} offset=${header.offset}`;
    case "RemoveUploads": {
      const { model_paths: paths } = header;
      return `${name} ${paths.length === 1 ? paths[0] : `${paths.length} uploads`}`;
    }
    case "ClearCache":
    case "GetWorkerState":
    case "ListUploads":
      return name;
  }
}

/**
 * What a model needs and how long it takes, e.g.
 * `input=602112 output=4000 weights=112.0 MB (7 pages) xfer=8.4 b1=3.3 b2=5.3`.
 */
export function describeModelFacts(facts: ModelFacts): string {
  const batches = facts.supported_batch_sizes
    .map((size, i) => ` b${size}=${describeMs(facts.exec_times_ns[i] ?? 0)}`).join("");
  return `input=${facts.input_size} output=${facts.output_size} ` +
    `weights=${describeBytes(facts.weights_size)} (${facts.num_weights_pages} pages) ` +
    `xfer=${describeMs(facts.weights_load_time_ns)}${batches}`;
}

/** A model that a worker knows, e.g. `M-0 src=PATH input=…`. */
export function describeModel(
  model: ModelFacts & { readonly model_id: number; readonly model_path: string },
): string {
  return printable(`M-${model.model_id} src=${model.model_path} ${describeModelFacts(model)}`);
}

/** E.g. `3 files, 2.0 MB`. */
export function describeFiles(files: readonly UploadFile[]): string {
  const count = files.length === 1 ? "1 file" : `${files.length} files`;
  return `${count}, ${describeBytes(uploadBytes(files))}`;
}

/** Everything a worker holds, over several lines; ends with a line break. */
function describeWorkerState(state: Header<"GetWorkerStateResult">): string {
  const gpus = state.gpus.map((gpu, i) =>
    ` GPU-${i} weights_cache=${describeBytes(gpu.weights_cache_size, "")} ` +
    `(${gpu.weights_cache_pages} pages) io_pool=${describeBytes(gpu.io_pool_size, "")} ` +
    `workspace_pool=${describeBytes(gpu.workspace_pool_size, "")} ` +
    `${gpu.models.length} models currently on GPU\n`
  ).join("");
  const models = state.models.map((model) => ` ${describeModel(model)}\n`).join("");
  return `\n page_size=${state.page_size}\ngpus=\n${gpus}models=\n${models}`;
}

/**
 * A result as text, e.g. `R0:LoadModelFromDisk input=602112 … duration=14.9`. One line, except that a
 * worker's state takes several and ends with a line break.
 */
export function describeResult(
  result: Pick<MessageOf<ResultKind>, "kind" | "id" | "header">,
): string {
  const { kind, id, header } = result as MessageOf<ResultKind>;
  if (kind === "ErrorResult") {
    const action = ACTION_KINDS[header.action_type] ?? `action type ${header.action_type}`;
    return printable(`R${id}:${action} error ${header.status}: ${header.message}`);
  }
  const name = `R${id}:${kind.slice(0, -"Result".length)}`;
  switch (kind) {
    case "LoadModelFromDiskResult":
      return `${name} ${describeModelFacts(header)} duration=${describeMs(header.duration_ns)}`;
    case "LoadWeightsResult":
    case "EvictWeightsResult":
      return `${name} duration=${describeMs(header.duration_ns)}`;
    case "InferResult":
      return `${name} gpu=${header.gpu_id} copy_input=${
        describeMs(header.copy_input.duration_ns)
      } exec=${describeMs(header.exec.duration_ns)} copy_output=${
        describeMs(header.copy_output.duration_ns)
      } outputs=${header.output_sizes.length}`;
    case "BeginUploadResult":
      return header.complete === 1 ? `${name} is there already` : name;
    case "ReadUploadResult":
      return header.files.length === 0 ? name : `${name} ${describeFiles(header.files)}`;
    case "ListUploadsResult":
      return `${name} ${header.uploads.length} uploads`;
    case "RemoveUploadsResult":
      return `${name} removed=${header.no_of_uploads}` +
        (header.message === "" ? "" : ` but: ${printable(header.message)}`);
    case "ClearCacheResult":
    case "UnloadModelResult":
    case "UploadChunkResult":
    case "EndUploadResult":
      return name;
    case "GetWorkerStateResult":
      return `${name}:${describeWorkerState(header)}`;
  }
}
