/**
 * The thread of one GPU: owns the device, ONNX Runtime, sessions and weights. Its messages are those of
 * `protocol.ts`.
 */
import { ActionStatus } from "../../core/status.ts";
import { type Device, listAdapters, openDevice } from "./device.ts";
import { describeError } from "./errors.ts";
import { loadModel, referenceOutputs } from "./load_model.ts";
import {
  type FromThread,
  OperationError,
  type OperationName,
  type Operations,
  type ToThread,
} from "./protocol.ts";
import type { ServedModel } from "./served_model.ts";
import { surveyAdapter } from "./survey.ts";

/** What the thread's global scope has that a window's has not. */
const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<ToThread>) => void;
  postMessage(message: FromThread, transfer: readonly Transferable[]): void;
};

let device: Device | undefined;
const models = new Map<number, ServedModel>();
let lost: string | undefined;

function reportLoss(reason: string): void {
  if (lost !== undefined) return;
  lost = reason;
  scope.postMessage({ lost: reason }, []);
}

// One load or unload at a time; inferences take turns with its steps.
let lastLoad: Promise<unknown> = Promise.resolve();
function afterLoads<T>(fn: () => Promise<T>): Promise<T> {
  const result = lastLoad.then(fn);
  lastLoad = result.catch(() => {});
  return result;
}

function openedDevice(): Device {
  if (device === undefined) throw new Error("no device is open");
  if (lost !== undefined) {
    throw new OperationError(ActionStatus.runtimeError, `the GPU is lost: ${lost}`);
  }
  return device;
}

function modelOf(modelId: number): ServedModel {
  openedDevice();
  const model = models.get(modelId);
  if (model === undefined) {
    throw new OperationError(ActionStatus.unknownModel, `no model ${modelId} on this GPU`);
  }
  return model;
}

type Handlers = {
  [K in OperationName]: (
    request: Operations[K]["request"],
  ) => Promise<Operations[K]["reply"]> | Operations[K]["reply"];
};

const handlers: Handlers = {
  adapters: async () => ({ names: await listAdapters() }),

  survey: ({ target }) => surveyAdapter(target),

  async open(request) {
    device = await openDevice(request);
    device.gpu?.device.lost.then((info) => reportLoss(info.message || info.reason));
    return device.info;
  },

  time: () => ({ nowMs: performance.now(), timeOriginMs: performance.timeOrigin }),

  load: (request) =>
    afterLoads(async () => {
      const { model, reply } = await loadModel(openedDevice(), request);
      models.set(request.modelId, model);
      return reply;
    }),

  reference: ({ source }) =>
    afterLoads(async () => ({ buffers: await referenceOutputs(openedDevice(), source) })),

  memory() {
    const pool = openedDevice().gpu?.pool;
    return { usedBytes: pool?.usedBytes ?? 0, freeBytes: pool?.freeBytes ?? 0 };
  },

  unload: ({ modelId }) =>
    afterLoads(async () => {
      const model = models.get(modelId);
      models.delete(modelId);
      await model?.close();
      return {};
    }),

  async loadWeights({ modelId, copyId }) {
    return await modelOf(modelId).loadWeights(copyId);
  },

  evictWeights({ modelId, copyId }) {
    const model = modelOf(modelId);
    const beginMs = performance.now();
    model.evictWeights(copyId);
    return { beginMs, endMs: performance.now() };
  },

  async infer({ modelId, copyId, batchSize, inputs }) {
    const { buffers, beginMs, endMs } = await modelOf(modelId).run(copyId, batchSize, inputs);
    return { beginMs, endMs, buffers };
  },
};

async function handle(message: ToThread): Promise<void> {
  const { seq } = message;
  try {
    // The table pairs each operation with its own request, which the compiler cannot follow.
    const handler = handlers[message.op] as (
      request: ToThread,
    ) => Promise<Operations[OperationName]["reply"]>;
    const reply = await handler(message);
    scope.postMessage({ seq, reply }, "buffers" in reply ? reply.buffers : []);
  } catch (error) {
    const status = error instanceof OperationError ? error.status : ActionStatus.runtimeError;
    scope.postMessage({ seq, status, message: describeError(error) }, []);
    // ONNX Runtime's memory is in an unknown state after a trap: nothing it says can be trusted.
    if (error instanceof WebAssembly.RuntimeError) {
      reportLoss(`ONNX Runtime crashed: ${error.message}`);
    }
  }
}

scope.onmessage = (event) => void handle(event.data);
