/** Describes models in terms of the Open Inference Protocol and of Triton's extensions. */
import type { TensorDescription } from "../client/catalogue.ts";
import type { NamedModel, Version } from "./models.ts";

/** Versions that a model's metadata lists. */
const MAX_LISTED_VERSIONS = 10_000;
const PLATFORM = "onnxruntime_onnx";

export function metadata(model: NamedModel, version: Version | null): object {
  const { inputs, outputs } = model.description;
  const versions = version === null ? first(model.versions(), MAX_LISTED_VERSIONS) : [version];
  return {
    name: model.name,
    versions: versions.map(({ version }) => version),
    platform: PLATFORM,
    inputs: inputs.map(tensorMetadata),
    outputs: outputs.map(tensorMetadata),
  };
}

function tensorMetadata({ name, datatype, shape, batched }: TensorDescription): object {
  return { name, datatype, shape: batched ? [-1, ...shape] : shape };
}

/** Triton's model configuration: what its clients read of it. */
export function config(model: NamedModel, maxBatchSize: number): object {
  const { inputs, outputs, batchSizes } = model.description;
  const batched = [...inputs, ...outputs].every((tensor) => tensor.batched);
  const dims = ({ name, datatype, shape, batched: own }: TensorDescription) => ({
    name,
    data_type: `TYPE_${datatype}`,
    dims: own && !batched ? [-1, ...shape] : shape,
  });
  return {
    name: model.name,
    platform: PLATFORM,
    backend: "onnxruntime",
    version_policy: { all: {} },
    max_batch_size: batched ? maxBatchSize : 0,
    input: inputs.map((tensor) => ({ ...dims(tensor), format: "FORMAT_NONE" })),
    output: outputs.map(dims),
    ...(batched ? { dynamic_batching: { preferred_batch_size: batchSizes } } : {}),
  };
}

/** Entries of the repository's index. */
const MAX_INDEX = 100_000;

export function index(models: Iterable<NamedModel>, readyOnly: boolean): object[] {
  const entries: object[] = [];
  for (const model of models) {
    for (const { version, status } of model.versions()) {
      if (readyOnly && status !== "ready") continue;
      if (entries.length === MAX_INDEX) return entries;
      entries.push({ name: model.name, version, ...STATES[status] });
    }
  }
  return entries;
}

const STATES = {
  ready: { state: "READY", reason: "" },
  unavailable: { state: "UNAVAILABLE", reason: "no worker that has it is connected" },
  unloading: { state: "UNLOADING", reason: "" },
} as const;

function first<T>(items: Iterable<T>, count: number): T[] {
  const found: T[] = [];
  for (const item of items) {
    if (found.length === count) break;
    found.push(item);
  }
  return found;
}
