/**
 * The thread of one GPU: owns the device, ONNX Runtime, sessions and weights. Its messages are those of
 * `protocol.ts`.
 */
import { ActionStatus } from "../../core/status.ts";
import { type Device, openDevice } from "./device.ts";
import { loadModel } from "./load_model.ts";
import {
  type FromThread,
  OperationError,
  type OperationName,
  type Operations,
  type ToThread,
} from "./protocol.ts";
import type { ServedModel } from "./served_model.ts";

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
  async open({ kind }) {
    device = await openDevice(kind);
    device.gpu?.lost.then((info) => reportLoss(info.message || info.reason));
    return device.info;
  },

  time: () => ({ nowMs: performance.now(), timeOriginMs: performance.timeOrigin }),

  load: (request) =>
    afterLoads(async () => {
      const { model, reply } = await loadModel(openedDevice(), request);
      models.set(request.modelId, model);
      return reply;
    }),

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
    return { beginMs, endMs, outputs: buffers };
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
    const transfer = "outputs" in reply && "beginMs" in reply ? reply.outputs : [];
    scope.postMessage({ seq, reply }, transfer);
  } catch (error) {
    const status = error instanceof OperationError ? error.status : ActionStatus.runtimeError;
    const text = error instanceof Error ? error.message : String(error);
    scope.postMessage({ seq, status, message: text }, []);
  }
}

scope.onmessage = (event) => void handle(event.data);
