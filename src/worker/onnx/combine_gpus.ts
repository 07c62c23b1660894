/** Combines the results of loading a model on several GPUs into one. */
import { ActionStatus } from "../../core/status.ts";
import type { BackendModel, Failure } from "../backend.ts";
import type { LoadedOnGpu } from "./profiles.ts";

/**
 * What holds of a model on every GPU: a controller may place it on any.
 *
 * @param onGpus at least one.
 */
export function combineGpus(
  onnxPath: string,
  onGpus: readonly LoadedOnGpu[],
): BackendModel | Failure {
  const { inputs, outputs, weightsBytes } = onGpus[0]!.reply;
  const shape = JSON.stringify([inputs, outputs]);
  const odd = onGpus.find(({ reply }) => JSON.stringify([reply.inputs, reply.outputs]) !== shape);
  if (odd !== undefined) {
    return {
      status: ActionStatus.runtimeError,
      message: `${onnxPath}: its tensors have other shapes on ${odd.info.name} than on ` +
        onGpus[0]!.info.name,
    };
  }
  const batchSizes = onGpus[0]!.reply.batchSizes.filter((size) =>
    onGpus.every(({ reply }) => reply.batchSizes.includes(size))
  );
  const pagedBytes = Math.max(...onGpus.map(({ reply }) => reply.pagedBytes));
  return {
    source: onnxPath,
    inputs,
    outputs,
    inputBytes: inputs.reduce((sum, { bytes }) => sum + bytes, 0),
    outputBytes: outputs.reduce((sum, { bytes }) => sum + bytes, 0),
    weightsBytes,
    ...(pagedBytes > 0 ? { pagedBytes } : {}),
    batchSizes,
    profiles: onGpus.map(({ reply }) => ({
      loadWeightsNs: Math.round(reply.loadWeightsMs * 1e6),
      execNs: batchSizes.map((size) =>
        Math.round(reply.execMs[reply.batchSizes.indexOf(size)]! * 1e6)
      ),
    })),
    notes: onGpus.flatMap(({ reply }, i) =>
      reply.notes.map((note) => onGpus.length === 1 ? note : `GPU ${i}: ${note}`)
    ),
  };
}
