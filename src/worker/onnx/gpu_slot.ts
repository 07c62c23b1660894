/**
 * One GPU over the worker's lifetime: its thread, the models loaded there, and a new thread with the same
 * models if the old one is lost.
 */
import { type Clock, MS, SECOND, type Timer } from "../../core/clock.ts";
import { ActionStatus } from "../../core/status.ts";
import { type Done, type Failure, isFailure, type Span } from "../backend.ts";
import { GpuThread, type ThreadTimeouts } from "./gpu_thread.ts";
import type {
  DeviceInfo,
  LoadReply,
  LoadRequest,
  OpenRequest,
  OperationName,
  Operations,
  ThreadSpan,
  WeightsMemory,
} from "./protocol.ts";

/** First and longest time between two attempts to get a lost GPU back. */
const FIRST_RETRY_NS = 100 * MS;
const LAST_RETRY_NS = 30 * SECOND;
/** How long the load of a model waits for a lost GPU: other loads wait behind it. */
const PATIENCE_NS = 10 * SECOND;

export interface GpuSlotOptions {
  readonly open: OpenRequest;
  readonly timeouts: ThreadTimeouts;
  readonly onLost: (reason: string) => void;
  /** The GPU is back, with its models and without any weights. */
  readonly onRestored: () => void;
}

/** A load that can be made again: its file is read anew. */
export interface RepeatableLoad {
  readonly request: Omit<LoadRequest, "source"> & { source: Omit<LoadRequest["source"], "file"> };
  /** Reads the ONNX file, which must still be the one that was loaded first. */
  readonly readFile: () => Promise<ArrayBuffer>;
}

interface SlotModel {
  load: RepeatableLoad;
  /** Why it could not be loaded again after a loss. */
  broken: string | null;
}

export class GpuSlot {
  readonly info: DeviceInfo;
  readonly #clock: Clock;
  readonly #options: GpuSlotOptions;
  readonly #models = new Map<number, SlotModel>();
  #thread: GpuThread;
  /** The thread that is to replace a lost one, while it is given its models. */
  #next: GpuThread | null = null;
  /** Null while the GPU works. */
  #lost: string | null = null;
  /** Resolves when it works again, or is closed. */
  #back = Promise.withResolvers<void>();
  #retryNs = FIRST_RETRY_NS;
  #retry: Timer | null = null;
  #closed = false;

  private constructor(
    clock: Clock,
    options: GpuSlotOptions,
    info: DeviceInfo,
    thread: GpuThread,
  ) {
    this.#clock = clock;
    this.#options = options;
    this.info = info;
    this.#thread = thread;
  }

  /** @throws {Error} whose message says why there is no such device. */
  static async open(clock: Clock, options: GpuSlotOptions): Promise<GpuSlot> {
    // A loss before there is a slot to tell is told as soon as there is one.
    let early: string | null = null;
    let slot: GpuSlot | null = null;
    const { thread, info } = await GpuThread.open(
      clock,
      options.open,
      options.timeouts,
      (reason) => {
        if (slot === null) early = reason;
        else slot.#lose(reason);
      },
    );
    slot = new GpuSlot(clock, options, info, thread);
    if (early !== null) slot.#lose(early);
    return slot;
  }

  /** Loads a model under `request.modelId`; waits a while for a lost GPU to come back. */
  async load(load: RepeatableLoad, file: ArrayBuffer): Promise<LoadReply | Failure> {
    if (this.#lost !== null && !await this.#isBackInTime()) {
      return { status: ActionStatus.runtimeError, message: `the GPU is lost: ${this.#lost}` };
    }
    const reply = await this.#load(this.#thread, load, file);
    if (!isFailure(reply)) {
      // What is known now need not be measured again.
      const known = {
        inputDims: Object.fromEntries(
          reply.inputs.map(({ name, shape, batched }) => [name, batched ? [1, ...shape] : shape]),
        ),
        dataSha256: reply.dataSha256,
        execMs: Object.fromEntries(reply.batchSizes.map((size, i) => [size, reply.execMs[i]!])),
        loadWeightsMs: reply.loadWeightsMs,
      };
      const { batchSizes } = reply;
      const request = { ...load.request, batchSizes, known };
      this.#models.set(load.request.modelId, { load: { ...load, request }, broken: null });
    }
    return reply;
  }

  unload(modelId: number): void {
    this.#models.delete(modelId);
    for (const thread of [this.#thread, this.#next]) {
      thread?.call("unload", { modelId }, [], () => {});
    }
  }

  /** Calls the thread about one model; fails when GPU or model are lost. */
  call<K extends "loadWeights" | "evictWeights" | "infer">(
    op: K,
    request: Operations[K]["request"],
    transfer: readonly ArrayBuffer[],
    done: Done<Operations[K]["reply"]>,
  ): void {
    const broken = this.#models.get(request.modelId)?.broken;
    if (broken) done({ status: ActionStatus.runtimeError, message: broken });
    else this.#thread.call(op, request, transfer, done);
  }

  memory(done: Done<WeightsMemory>): void {
    this.#thread.call("memory", {}, [], done);
  }

  span(span: ThreadSpan, callNs: number): Span {
    return this.#thread.span(span, callNs);
  }

  close(why: string): void {
    this.#closed = true;
    this.#retry?.cancel();
    this.#thread.close(why);
    this.#next?.close(why);
    this.#back.resolve();
  }

  async #isBackInTime(): Promise<boolean> {
    const patience = Promise.withResolvers<void>();
    const timer = this.#clock.at(this.#clock.now() + PATIENCE_NS, () => patience.resolve());
    await Promise.race([this.#back.promise, patience.promise]);
    timer.cancel();
    return this.#lost === null;
  }

  #load(
    thread: GpuThread,
    { request }: RepeatableLoad,
    file: ArrayBuffer,
  ): Promise<LoadReply | Failure> {
    const whole: Operations["load"]["request"] = {
      ...request,
      source: { ...request.source, file },
    };
    return ask(thread, "load", whole, [file]);
  }

  #lose(reason: string): void {
    if (this.#closed || this.#lost !== null) return;
    this.#lost = reason;
    this.#options.onLost(reason);
    this.#retryLater();
  }

  #retryLater(): void {
    if (this.#closed) return;
    this.#retry = this.#clock.at(this.#clock.now() + this.#retryNs, () => void this.#revive());
    this.#retryNs = Math.min(2 * this.#retryNs, LAST_RETRY_NS);
  }

  async #revive(): Promise<void> {
    let lostAgain = false;
    let thread: GpuThread | undefined;
    try {
      const opened = await GpuThread.open(
        this.#clock,
        this.#options.open,
        this.#options.timeouts,
        (reason) => {
          lostAgain = true;
          if (this.#thread === thread) this.#lose(reason);
        },
      );
      thread = opened.thread;
      if (this.#closed) throw new Error("closed meanwhile");
      this.#next = thread;
      if (opened.info.profileKey !== this.info.profileKey) throw new Error("another device");
      for (const [modelId, model] of [...this.#models]) {
        const isUnloaded = () => this.#models.get(modelId) !== model;
        if (isUnloaded()) continue;
        await this.#reload(thread, model);
        // The thread may have been told so before it had the model.
        if (isUnloaded()) thread.call("unload", { modelId }, [], () => {});
        if (lostAgain || this.#closed) throw new Error("lost or closed while models were loaded");
      }
    } catch {
      // The reason was told when it was lost; what matters now is to go on trying.
      this.#next = null;
      thread?.close("it could not be restored");
      this.#retryLater();
      return;
    }
    this.#thread = thread;
    this.#next = null;
    this.#lost = null;
    this.#retryNs = FIRST_RETRY_NS;
    this.#back.resolve();
    this.#back = Promise.withResolvers();
    this.#options.onRestored();
  }

  async #reload(thread: GpuThread, model: SlotModel): Promise<void> {
    const { load } = model;
    try {
      const reply = await this.#load(thread, load, await load.readFile());
      if (isFailure(reply)) throw new Error(reply.message);
      const missing = load.request.batchSizes.find((size) => !reply.batchSizes.includes(size));
      if (missing !== undefined) throw new Error(`batch size ${missing} does not run any more`);
      model.broken = null;
    } catch (error) {
      model.broken = `the model could not be loaded again after the GPU was lost: ${
        (error as Error).message
      }`;
    }
  }
}

/** A call of a thread as a promise. */
export function ask<K extends OperationName>(
  thread: GpuThread,
  op: K,
  request: Operations[K]["request"],
  transfer: readonly ArrayBuffer[],
): Promise<Operations[K]["reply"] | Failure> {
  return new Promise((resolve) => thread.call(op, request, transfer, resolve));
}
