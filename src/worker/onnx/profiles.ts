/** Measurements of a model on a device, as stored in `model.json`. */
import type { TensorSpec } from "../backend.ts";
import {
  type ModelJson,
  readModelJson,
  type TensorDeclaration,
  writeModelJson,
} from "../model_files.ts";
import type { RepeatableLoad } from "./gpu_slot.ts";
import { givenFor, type InputShapes } from "./plan.ts";
import type { DeviceInfo, KnownTimes, LoadReply } from "./protocol.ts";
import type { Difference } from "./verify.ts";

/** A model on one GPU. */
export interface LoadedOnGpu {
  readonly info: DeviceInfo;
  readonly request: RepeatableLoad["request"];
  /** Without the outputs that it was compared by: they may be as large as weights. */
  readonly reply: Omit<LoadReply, "buffers">;
  /** How far its results are from the CPU's; null when they were not compared. */
  readonly check: Difference | null;
  /** Whether there is anything that `model.json` does not have. */
  readonly changed: boolean;
}

/** Whole shapes of the inputs that `model.json` declares, at batch size 1; null when it has none. */
function inputDims(json: ModelJson | null): InputShapes | null {
  if (json?.inputs === undefined) return null;
  return Object.fromEntries(
    json.inputs.map(({ name, shape }) => [name, shape.map((dim) => dim === "batch" ? 1 : dim)]),
  );
}

/**
 * The times of a device that hold for this file; null when there are none. Figures of another file, or of
 * another version of what computes, would mislead.
 */
export function knownTimes(
  json: ModelJson | null,
  { profileKey, runtime }: DeviceInfo,
  onnxSha256: string,
): KnownTimes | null {
  const profile = json?.profiles[profileKey];
  if (profile?.onnx_sha256 !== onnxSha256) return null;
  if (profile.runtime !== undefined && profile.runtime !== runtime) return null;
  return {
    inputDims: inputDims(json),
    dataSha256: profile.data_sha256 ?? null,
    execMs: Object.fromEntries(
      Object.entries(profile.exec_ns).map(([size, ns]) => [size, ns / 1e6]),
    ),
    loadWeightsMs: profile.weights_load_ns / 1e6,
  };
}

/** The result of an earlier comparison with the CPU; null when there is none that holds. */
export function storedCheck(
  json: ModelJson | null,
  info: DeviceInfo,
  onnxSha256: string,
  dataSha256: string | null,
): Difference | null {
  const profile = json?.profiles[info.profileKey];
  if (profile?.verified === undefined || profile.onnx_sha256 !== onnxSha256) return null;
  if ((profile.data_sha256 ?? null) !== dataSha256 || profile.runtime !== info.runtime) return null;
  return profile.verified;
}

function declarations(specs: readonly TensorSpec[]): TensorDeclaration[] {
  return specs.map(({ name, dtype, shape, batched }) => ({
    name,
    dtype,
    shape: batched ? ["batch", ...shape] : [...shape],
  }));
}

/** Keeps what was found out about a model beside it. Throws what the file system says. */
export function saveProfiles(
  jsonPath: string,
  onnxSha256: string,
  onGpus: readonly LoadedOnGpu[],
): void {
  // Read again: another worker may have added its device's profile meanwhile.
  const json = readModelJson(jsonPath) ?? { source: "", modelled: false, profiles: {} };
  const first = onGpus[0]!.reply;
  const kept = { ...json.shapes };
  for (const [name, dims] of Object.entries(first.shapes)) kept[name] = [...dims];
  const fill = { ...json.fill };
  for (const { name } of first.inputs) {
    const value = givenFor(onGpus[0]!.request.source.fill, name);
    if (value !== undefined) fill[name] = value;
  }
  const inputs = declarations(first.inputs);
  // Times of other shapes are of no use to anybody.
  const same = JSON.stringify(inputDims({ ...json, inputs })) === JSON.stringify(inputDims(json));
  const profiles = same ? { ...json.profiles } : {};
  for (const { info, reply, check } of onGpus) {
    const old = profiles[info.profileKey];
    const current = old?.onnx_sha256 === onnxSha256 &&
      (old.data_sha256 ?? null) === reply.dataSha256 &&
      (old.runtime === undefined || old.runtime === info.runtime);
    const measured = Object.fromEntries(
      reply.batchSizes.map((size, i) => [String(size), Math.round(reply.execMs[i]! * 1e6)]),
    );
    profiles[info.profileKey] = {
      weights_load_ns: Math.round(reply.loadWeightsMs * 1e6),
      exec_ns: { ...(current ? old.exec_ns : {}), ...measured },
      onnx_sha256: onnxSha256,
      ...(reply.dataSha256 === null ? {} : { data_sha256: reply.dataSha256 }),
      runtime: info.runtime,
      ...(check === null || !(check.difference < Infinity) ? {} : { verified: check }),
    };
  }
  writeModelJson(jsonPath, {
    ...json,
    source: json.source || "measured by clockwork",
    inputs,
    outputs: declarations(first.outputs),
    weights_bytes: first.weightsBytes,
    ...(Object.keys(kept).length > 0 ? { shapes: kept } : {}),
    ...(Object.keys(fill).length > 0 ? { fill } : {}),
    profiles,
  });
}
