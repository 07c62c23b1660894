/** Models of the emulated worker: the data of `model.json`, without weights. */
import { ActionStatus } from "../../core/status.ts";
import type { BackendModel, Failure, LoadModelOptions } from "../backend.ts";
import type { ModelDirs } from "../model_dirs.ts";
import { declaredSpecs, ModelFileError, readModelFolder } from "../model_files.ts";

/** The profile that is emulated where a model has several. */
const PREFERRED_PROFILE = "v100";

/**
 * Returns a reader of models by path, among those in `dirs`.
 * The same files serve the real worker; only `model.json` is read.
 */
export function modelReader(
  dirs: ModelDirs,
): (path: string, gpus: number) => BackendModel | Failure {
  return (path, gpus) => {
    try {
      return readModel(path, dirs, gpus);
    } catch (error) {
      if (!(error instanceof ModelFileError)) throw error;
      return { status: ActionStatus.invalidModelPath, message: error.message };
    }
  };
}

function readModel(path: string, dirs: ModelDirs, gpus: number): BackendModel {
  const { folder, jsonPath, json } = readModelFolder(path, dirs);
  const lacks = (what: string) =>
    new ModelFileError(
      `${jsonPath} has no ${what}, which the emulated worker needs; let check-model write it, or ` +
        "see docs/models.md",
    );
  if (json === null) {
    throw new ModelFileError(
      `there is no ${jsonPath}, which the emulated worker needs; let check-model write it`,
    );
  }
  if (json.inputs === undefined) throw lacks("inputs");
  if (json.outputs === undefined) throw lacks("outputs");
  if (json.weights_bytes === undefined) throw lacks("weights_bytes");
  const profile = json.profiles[PREFERRED_PROFILE] ?? Object.values(json.profiles)[0];
  if (profile === undefined) throw lacks("profiles");
  const batchSizes = Object.keys(profile.exec_ns).map(Number).sort((a, b) => a - b)
    .filter((size) => json.batch_sizes === undefined || json.batch_sizes.includes(size));
  if (batchSizes[0] !== 1) throw lacks("execution time for batch size 1");
  const inputs = declaredSpecs(json.inputs);
  const outputs = declaredSpecs(json.outputs);
  const oneProfile = {
    loadWeightsNs: profile.weights_load_ns,
    execNs: batchSizes.map((size) => profile.exec_ns[size]!),
  };
  return {
    source: folder,
    inputs,
    outputs,
    inputBytes: inputs.reduce((sum, { bytes }) => sum + bytes, 0),
    outputBytes: outputs.reduce((sum, { bytes }) => sum + bytes, 0),
    weightsBytes: json.weights_bytes,
    batchSizes,
    profiles: new Array(gpus).fill(oneProfile),
    notes: [],
  };
}

/** The model with only those batch sizes that the options allow. */
export function limitModel(
  model: BackendModel,
  { maxBatchSize, maxExecNs }: LoadModelOptions,
): BackendModel | Failure {
  const kept = model.batchSizes.map((size, i) => ({ size, i })).filter(({ size, i }) =>
    size <= maxBatchSize && model.profiles.every(({ execNs }) => execNs[i]! <= maxExecNs)
  );
  if (kept[0]?.size !== 1) {
    return {
      status: ActionStatus.invalidBatchSize,
      message: `${model.source} takes ${model.profiles[0]!.execNs[0]! / 1e6} ms at batch size 1, ` +
        `longer than the controller's limit of ${maxExecNs / 1e6} ms; raise its max_exec`,
    };
  }
  return {
    ...model,
    batchSizes: kept.map(({ size }) => size),
    profiles: model.profiles.map(({ loadWeightsNs, execNs }) => ({
      loadWeightsNs,
      execNs: kept.map(({ i }) => execNs[i]!),
    })),
  };
}
