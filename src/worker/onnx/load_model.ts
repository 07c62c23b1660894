/**
 * Loading a model on this thread's device: choose between hoisted and held weights, find out which batch
 * sizes work, warm each up, and measure what is not known.
 */
import { ActionStatus } from "../../core/status.ts";
import type { TensorSpec } from "../backend.ts";
import { ModelFileError, tensorSpec } from "../model_files.ts";
import { floatBytes } from "./data_types.ts";
import type { Device } from "./device.ts";
import { GpuWeights } from "./gpu_weights.ts";
import { constantsToInitializers } from "./graph.ts";
import { hoist, type HoistedModel } from "./hoist.ts";
import { nextTurn } from "./next_turn.ts";
import { createSession, type OrtSession, releaseSession } from "./ort.ts";
import { type GraphPlan, ModelShapeError, planGraph, symbolicShapes } from "./plan.ts";
import { decodeModel, type Model, NotOnnxError } from "./proto.ts";
import { type LoadReply, type LoadRequest, OperationError, type ThreadSpan } from "./protocol.ts";
import { type RunResult, runSession, seededInputs, ServedModel } from "./served_model.ts";

/** `TensorProto.DataLocation` of data in another file. */
const EXTERNAL = 1;
/** Warm-up on the CPU before anything is timed: V8 replaces its first, slow WebAssembly code. */
const WARM_MS = 250;
const WARM_RUNS = 50;
/** Runs that make a profile, if they fit in the time. */
const MEASURED_RUNS = 10;
/** About how long the runs of one batch size may take, in milliseconds. */
const MEASURED_MS = 300;
/** How far the first request of a batch may differ from the same request alone. */
const BATCH_TOLERANCE = 0.05;

/** A model as it was first read. */
interface Prepared {
  readonly model: ServedModel;
  readonly plan: GraphPlan;
  readonly inputs: TensorSpec[];
  /** What batch size 1 gave for the seeded input. */
  readonly first: RunResult;
  readonly hoisted: boolean;
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Bytes of all initializers and constants, whatever becomes of them. */
function weightsBytesOf(model: Model): number {
  // On a shallow copy: the graph itself goes to ONNX Runtime as the file has it.
  const graph = { ...model.graph, initializer: [...model.graph.initializer] };
  constantsToInitializers(graph);
  return graph.initializer.reduce(
    (sum, tensor) => sum + (tensor.rawData?.length || floatBytes(tensor)?.length || 0),
    0,
  );
}

function readModel(request: LoadRequest): { plan: GraphPlan; weightsBytes: number } {
  try {
    const model = decodeModel(new Uint8Array(request.file));
    if (model.graph.initializer.some((tensor) => tensor.dataLocation === EXTERNAL)) {
      throw new OperationError(
        ActionStatus.invalidModelPath,
        "the weights are in other files, which is not supported yet; save the model as one file",
      );
    }
    return { plan: planGraph(model, request.shapes), weightsBytes: weightsBytesOf(model) };
  } catch (error) {
    if (error instanceof NotOnnxError || error instanceof ModelShapeError) {
      throw new OperationError(ActionStatus.invalidModelPath, error.message);
    }
    throw error;
  }
}

function sameBits(a: RunResult, b: RunResult): boolean {
  return a.buffers.every((buffer, i) => {
    const x = new Uint8Array(buffer);
    const y = new Uint8Array(b.buffers[i]!);
    return x.length === y.length && x.every((value, j) => value === y[j]);
  });
}

/** Makes a weightless session and compares it with the plain one; a string says why it will not do. */
async function tryHoisted(
  device: Device,
  gpu: GPUDevice,
  hoisted: HoistedModel,
  plan: GraphPlan,
  inputs: TensorSpec[],
  plain: RunResult,
): Promise<OrtSession | string> {
  let session: OrtSession | undefined;
  let weights: GpuWeights | undefined;
  try {
    session = await createSession(device.ort, device.executionProvider, hoisted.bytes);
    weights = await GpuWeights.upload(device.ort, gpu, hoisted.weights);
    const seeded = seededInputs(inputs, 1);
    const result = await runSession(device, session, plan, 1, seeded, weights.feeds);
    if (sameBits(result, plain)) return session;
    await releaseSession(session);
    return "the outputs differ from those of the plain session";
  } catch (error) {
    if (session !== undefined) await releaseSession(session);
    return message(error);
  } finally {
    weights?.destroy();
  }
}

/** Sessions of a model: the plain one first, as a reference, then the weightless one if it is as good. */
async function prepare(
  device: Device,
  request: LoadRequest,
  plan: GraphPlan,
  notes: string[],
): Promise<Prepared> {
  const file = new Uint8Array(request.file);
  const inputs = plan.inputs.map(({ name, dtype, dims }) =>
    tensorSpec(name, dtype, plan.batchable ? dims.slice(1) : dims, plan.batchable)
  );
  const plain = await createSession(device.ort, device.executionProvider, file);
  try {
    const first = await runSession(device, plain, plan, 1, seededInputs(inputs, 1), {});
    const keepPlain = (why: string): Prepared => {
      notes.push(`weights stay in the session, shared by all copies: ${why}`);
      const model = new ServedModel(device, plain, plan, inputs, null);
      return { model, plan, inputs, first, hoisted: false };
    };
    if (device.gpu === null) {
      return keepPlain("the CPU has no memory of its own, so that loading weights moves nothing");
    }
    const hoisted = hoist(file, symbolicShapes(plan));
    if (hoisted.weights.length === 0) return keepPlain("none can be a graph input");
    const session = await tryHoisted(device, device.gpu, hoisted, plan, inputs, first);
    if (typeof session === "string") return keepPlain(`hoisting failed: ${session}`);
    await releaseSession(plain);
    const model = new ServedModel(device, session, plan, inputs, hoisted.weights);
    return { model, plan, inputs, first, hoisted: true };
  } catch (error) {
    await releaseSession(plain);
    throw error;
  }
}

/** What outputs look like per request, from a run at batch size 1. */
function outputSpecs(plan: GraphPlan, dims: RunResult["dims"], batched: boolean): TensorSpec[] {
  return plan.outputs.map(({ name, dtype }, i) =>
    tensorSpec(name, dtype, batched ? dims[i]!.slice(1) : dims[i]!, batched)
  );
}

/** Why a run at batch size 2 shows that batching will not do; null when it will. */
function batchFault(plan: GraphPlan, one: RunResult, two: RunResult): string | null {
  for (const [i, { name, dtype }] of plan.outputs.entries()) {
    const expected = [2, ...one.dims[i]!.slice(1)];
    if (one.dims[i]![0] !== 1 || two.dims[i]!.join() !== expected.join()) {
      return `output "${name}" is [${one.dims[i]}] for one request and [${
        two.dims[i]
      }] for two, so ` +
        "that it cannot be divided among requests";
    }
    if (dtype !== "float32") continue;
    const alone = new Float32Array(one.buffers[i]!);
    const first = new Float32Array(two.buffers[i]!).subarray(0, alone.length);
    const scale = alone.reduce((max, value) => Math.max(max, Math.abs(value)), 1e-6);
    if (alone.some((value, j) => Math.abs(value - first[j]!) > BATCH_TOLERANCE * scale)) {
      return `output "${name}" of a request depends on its neighbours in the batch`;
    }
  }
  return null;
}

/** Copy that exists while a model is loaded, to warm it up and measure it. */
const TRIAL_COPY = -1;

class Measurement {
  readonly batchSizes: number[] = [];
  readonly execMs: number[] = [];
  loadWeightsMs = 0;
  measured = false;
}

/**
 * The time to predict from some measured ones: their 80th percentile. The slowest tell what else the
 * machine did at that moment, which would stay in the profile for good.
 */
export function predictedMs(timesMs: readonly number[]): number {
  return timesMs.toSorted((a, b) => a - b)[Math.ceil(0.8 * timesMs.length) - 1]!;
}

/**
 * Times some runs: three at least, unless the whole load is out of time, and no more once they have taken
 * long enough.
 */
async function measureRuns(run: () => Promise<ThreadSpan>, untilMs: number): Promise<number> {
  const beginMs = performance.now();
  const timesMs: number[] = [];
  for (let i = 0; i < MEASURED_RUNS; i++) {
    const nowMs = performance.now();
    if (i > 0 && (nowMs > untilMs || (i >= 3 && nowMs - beginMs > MEASURED_MS))) break;
    const span = await run();
    timesMs.push(span.endMs - span.beginMs);
  }
  return predictedMs(timesMs);
}

async function warmCpu(run: () => Promise<unknown>): Promise<void> {
  const endMs = performance.now() + WARM_MS;
  for (let i = 0; i < WARM_RUNS && performance.now() < endMs; i++) await run();
}

async function measure(
  onGpu: boolean,
  prepared: Prepared,
  request: LoadRequest,
  notes: string[],
): Promise<Measurement> {
  const { model, plan, first } = prepared;
  const result = new Measurement();
  const untilMs = performance.now() + request.budgetMs;
  if (request.knownLoadWeightsMs === null) {
    result.loadWeightsMs = await measureRuns(async () => {
      model.evictWeights(TRIAL_COPY);
      return await model.loadWeights(TRIAL_COPY);
    }, untilMs);
    result.measured = true;
  } else {
    await model.loadWeights(TRIAL_COPY);
    result.loadWeightsMs = request.knownLoadWeightsMs;
  }
  let batched = plan.batchable;
  model.outputs = outputSpecs(plan, first.dims, false);
  for (const batchSize of request.batchSizes) {
    if (batchSize > 1 && !plan.batchable) {
      notes.push("batch size 1 only: the model's inputs have no open first dimension");
      break;
    }
    if (batchSize > 1 && performance.now() > untilMs) {
      notes.push(
        `batch sizes from ${batchSize} on are not offered: measuring took longer than ` +
          `${request.budgetMs / 1000} s`,
      );
      break;
    }
    const run = async () => {
      // On the CPU a run ends without a turn of the event loop, so that inferences would not get theirs.
      await nextTurn();
      return await model.run(TRIAL_COPY, batchSize, null);
    };
    try {
      if (batchSize > 1 && result.batchSizes.length === 1) {
        model.outputs = [];
        const two = await model.run(TRIAL_COPY, 2, null);
        const fault = batchFault(plan, first, two);
        if (fault !== null) {
          notes.push(`batch size 1 only: ${fault}`);
          batched = false;
          break;
        }
        model.outputs = outputSpecs(plan, first.dims, true);
      }
      // Compiles shaders for this size and fills ONNX Runtime's caches.
      await run();
      if (batchSize === 1 && !onGpu) await warmCpu(run);
      const known = request.knownExecMs[batchSize];
      let execMs = known;
      if (execMs === undefined) {
        await run();
        execMs = await measureRuns(run, untilMs);
        result.measured = true;
      }
      if (batchSize > 1 && execMs > request.maxExecMs) {
        notes.push(
          `batch sizes from ${batchSize} on are not offered: ${
            execMs.toFixed(1)
          } ms are more than ` +
            `the ${request.maxExecMs.toFixed(1)} ms allowed`,
        );
        break;
      }
      result.batchSizes.push(batchSize);
      result.execMs.push(execMs);
    } catch (error) {
      if (batchSize === 1) throw error;
      notes.push(`batch sizes from ${batchSize} on are not offered: ${message(error)}`);
      break;
    }
  }
  if (result.batchSizes.length === 1) batched = batched && plan.batchable;
  model.outputs = outputSpecs(plan, first.dims, batched && first.dims.every((d) => d[0] === 1));
  model.evictWeights(TRIAL_COPY);
  return result;
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
  const { plan, weightsBytes } = readModel(request);
  let prepared: Prepared | undefined;
  try {
    prepared = await prepare(device, request, plan, notes);
    const { model, inputs, hoisted } = prepared;
    const { batchSizes, execMs, loadWeightsMs, measured } = await measure(
      device.gpu !== null,
      prepared,
      request,
      notes,
    );
    const outputs = model.outputs;
    return {
      model,
      reply: {
        inputs,
        outputs,
        weightsBytes,
        hoisted,
        batchSizes,
        execMs,
        loadWeightsMs,
        measured,
        notes,
      },
    };
  } catch (error) {
    await prepared?.model.close();
    if (error instanceof OperationError) throw error;
    const status = error instanceof ModelFileError
      ? ActionStatus.invalidModelPath
      : ActionStatus.runtimeError;
    throw new OperationError(
      status,
      `the model does not run on ${device.info.name}: ${message(error)}`,
    );
  }
}
