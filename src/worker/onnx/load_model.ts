/**
 * Loads a model on this thread's device: creates its session, finds out which batch sizes work, moves its
 * weights into pages, and measures what is unknown.
 */
import { ActionStatus } from "../../core/status.ts";
import { DEFAULT_FRAME_LIMITS } from "../../wire/frame.ts";
import type { TensorSpec } from "../backend.ts";
import { ModelFileError, tensorSpec } from "../model_files.ts";
import { Recording } from "./buffer_watch.ts";
import type { Device, Gpu } from "./device.ts";
import { describeError } from "./errors.ts";
import { measure } from "./measure.ts";
import { createSession, releaseSession } from "./ort.ts";
import { PagedWeights } from "./paged_weights.ts";
import { givenFor, type GraphPlan } from "./plan.ts";
import {
  type KnownTimes,
  type LoadReply,
  type LoadRequest,
  type ModelSource,
  OperationError,
} from "./protocol.ts";
import { readModel } from "./read_model.ts";
import {
  type RunResult,
  runSession,
  seededInputs,
  ServedModel,
  TRIAL_COPY,
} from "./served_model.ts";
import { tryBatches } from "./try_batches.ts";

function sameBits(a: RunResult, b: RunResult): boolean {
  return a.buffers.every((buffer, i) => {
    const x = new Uint8Array(buffer);
    const y = new Uint8Array(b.buffers[i]!);
    return x.length === y.length && x.every((value, j) => value === y[j]);
  });
}

/** The inputs of one request, which must fit into a message. */
function inputSpecs({ inputs, batchable }: GraphPlan): TensorSpec[] {
  const specs = inputs.map(({ name, dtype, dims }) =>
    tensorSpec(name, dtype, batchable ? dims.slice(1) : dims, batchable)
  );
  const bytes = specs.reduce((sum, spec) => sum + spec.bytes, 0);
  const { maxPayloadBytes } = DEFAULT_FRAME_LIMITS;
  if (bytes > maxPayloadBytes) {
    const shapes = inputs.map(({ name, dims }) => `"${name}" [${dims}]`).join(", ");
    throw new ModelFileError(
      `one request's input has ${bytes} bytes (${shapes}); a message takes ${maxPayloadBytes}`,
    );
  }
  return specs;
}

/** An input whose batch dimension turned out to be of no use: it is always 1. */
function wholeShape(spec: TensorSpec): TensorSpec {
  return { ...spec, shape: [1, ...spec.shape], batched: false };
}

/** Whether times belong to what is being loaded. */
function isCurrent(known: KnownTimes, { inputs }: GraphPlan, dataSha256: string | null): boolean {
  return known.dataSha256 === dataSha256 &&
    inputs.every(({ name, dims }) => givenFor(known.inputDims ?? {}, name)?.join() === dims.join());
}

/**
 * Moves the weights of a model that has run at all its batch sizes into pages. Null when they stay in the
 * session, which `notes` explains.
 */
async function pageWeights(
  gpu: Gpu,
  model: ServedModel,
  recording: Recording,
  first: RunResult,
  notes: string[],
): Promise<PagedWeights | null> {
  const weights = await PagedWeights.capture(gpu.device, gpu.pool, recording, gpu.pageBytes);
  if (weights === null) {
    notes.push("no weights on the device: what there is stays in the session, for all copies");
    return null;
  }
  model.evictWeights(TRIAL_COPY);
  model.weights = weights;
  await model.loadWeights(TRIAL_COPY);
  // With the originals still there, a failure now leaves a session that works.
  if (!sameBits(first, await model.run(TRIAL_COPY, 1, null))) {
    model.evictWeights(TRIAL_COPY);
    model.weights = null;
    await model.loadWeights(TRIAL_COPY);
    notes.push(
      "weights stay in the session, for all copies: the outputs differ from one run to the next, " +
        "so that it cannot be checked whether moving the weights keeps them",
    );
    return null;
  }
  weights.releaseOriginals();
  if (!sameBits(first, await model.run(TRIAL_COPY, 1, null))) {
    throw new Error("its outputs change when its weights move in the device's memory");
  }
  return weights;
}

/**
 * Loads a model; the reply says what it is and how fast.
 *
 * @throws {OperationError} when it cannot be served.
 */
export async function loadModel(
  device: Device,
  request: LoadRequest,
): Promise<{ model: ServedModel; reply: LoadReply }> {
  const notes: string[] = [];
  const { source } = request;
  const { bytes, plan, weightsBytes, halfPrecision, externalData, dataSha256 } = await readModel(
    source,
  );
  const { gpu, ort, executionProvider } = device;
  const known = request.known !== null && isCurrent(request.known, plan, dataSha256)
    ? request.known
    : null;
  const recording = new Recording();
  let model: ServedModel | undefined;
  try {
    const inputs = inputSpecs(plan);
    const session = await createSession(ort, executionProvider, bytes, externalData, {
      begin: () => {
        if (gpu !== null) gpu.watch.recording = recording;
      },
      end: () => recording.endCreation(),
    });
    model = new ServedModel(device, session, plan, inputs);
    await model.loadWeights(TRIAL_COPY);
    const tried = await tryBatches(model, plan, request, gpu !== null, notes);
    if (gpu !== null) gpu.watch.recording = null;
    const weights = gpu === null
      ? null
      : await pageWeights(gpu, model, recording, tried.first, notes);
    const times = await measure(model, tried.batchSizes, request, known, notes);
    model.evictWeights(TRIAL_COPY);
    model.forgetInputs();
    return {
      model,
      reply: {
        inputs: tried.batched || !plan.batchable ? inputs : inputs.map(wholeShape),
        outputs: model.outputs,
        weightsBytes,
        halfPrecision,
        pagedBytes: weights?.pagedBytes ?? 0,
        ...times,
        dataSha256,
        shapes: plan.shapes,
        notes,
        buffers: tried.first.buffers,
      },
    };
  } catch (error) {
    if (gpu !== null) gpu.watch.recording = null;
    await model?.close();
    throw asOperationError(device, error);
  }
}

function asOperationError(device: Device, error: unknown): unknown {
  if (error instanceof OperationError || error instanceof WebAssembly.RuntimeError) return error;
  if (error instanceof ModelFileError) {
    return new OperationError(ActionStatus.invalidModelPath, error.message);
  }
  return new OperationError(
    ActionStatus.runtimeError,
    `the model does not run on ${device.info.name}: ${describeError(error)}`,
  );
}

/** What a model makes of the seeded input of one request: the reference that other devices have. */
export async function referenceOutputs(
  device: Device,
  source: ModelSource,
): Promise<readonly ArrayBuffer[]> {
  const { bytes, plan, externalData } = await readModel(source);
  try {
    const session = await createSession(device.ort, device.executionProvider, bytes, externalData);
    try {
      const seeded = seededInputs(plan, inputSpecs(plan), 1);
      return (await runSession(device, session, plan, 1, seeded, null)).buffers;
    } finally {
      await releaseSession(session);
    }
  } catch (error) {
    throw asOperationError(device, error);
  }
}
