/** Loads models by path: once for all copies, on every GPU, with profiles kept in model.json. */
import type { Clock } from "../../core/clock.ts";
import { ActionStatus } from "../../core/status.ts";
import { type BackendModel, type Failure, isFailure, type LoadModelOptions } from "../backend.ts";
import type { ModelDirs } from "../model_dirs.ts";
import { ModelFileError, type ModelFolder, readModelFolder } from "../model_files.ts";
import { combineGpus } from "./combine_gpus.ts";
import type { GpuSlot, RepeatableLoad } from "./gpu_slot.ts";
import type { ThreadTimeouts } from "./gpu_thread.ts";
import type { InputFill, InputShapes } from "./plan.ts";
import { knownTimes, type LoadedOnGpu, saveProfiles, storedCheck } from "./profiles.ts";
import { telling } from "./progress.ts";
import type { LoadReply } from "./protocol.ts";
import { ReferenceThread } from "./reference_thread.ts";
import {
  compareOutputs,
  describeDifference,
  type Difference,
  isWithin,
  type Tolerances,
  tolerancesFor,
  type VerifyChoice,
} from "./verify.ts";

/** Batch sizes that are tried, as far as a model and the request for it allow. */
const BATCH_SIZES = Array.from({ length: 17 }, (_, i) => 2 ** i);
/** About how long warming up, and then measuring, one model may take. */
const LOAD_BUDGET_MS = 20_000;

/**
 * What becomes of the profiles in model.json: `keep` reads them and adds what they lack, `read` writes
 * nothing, `renew` measures and compares everything anew.
 */
export type ProfileUse = "keep" | "read" | "renew";

export interface ModelLoaderOptions {
  readonly modelDirs: ModelDirs;
  readonly maxModelBytes: number;
  readonly maxBatchSize: number;
  /** Host memory for the weights of all models. */
  readonly hostWeightsBytes: number;
  /** Sizes of dynamic dimensions, which go before those in model.json. */
  readonly shapes: InputShapes;
  /** Whether a model that they do not fit is refused, rather than loaded without them. */
  readonly strictShapes: boolean;
  /** Values of inputs that cannot be any number, which go before those in model.json. */
  readonly fill: InputFill;
  readonly verify: VerifyChoice;
  readonly tolerances: Tolerances;
  readonly timeouts: ThreadTimeouts;
  readonly profiles: ProfileUse;
  /** Told what a load is at that takes long, a line at a time. */
  readonly onProgress: (line: string) => void;
}

interface Loaded {
  readonly key: string;
  readonly modelId: number;
  readonly onGpus: readonly LoadedOnGpu[];
  /** How many loads of it have not been unloaded. */
  uses: number;
}

function failed(error: unknown): Failure {
  return error instanceof ModelFileError
    ? { status: ActionStatus.invalidModelPath, message: error.message }
    : { status: ActionStatus.runtimeError, message: String(error) };
}

async function sha256(bytes: ArrayBuffer): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

async function readFile(path: string, maxBytes: number): Promise<ArrayBuffer> {
  try {
    const { size } = await Deno.stat(path);
    if (size > maxBytes) throw new Error(`it has ${size} bytes; the limit is ${maxBytes}`);
    return (await Deno.readFile(path)).buffer;
  } catch (error) {
    throw new ModelFileError(`cannot read ${path}: ${(error as Error).message}`);
  }
}

export class ModelLoader {
  readonly #clock: Clock;
  readonly #slots: readonly GpuSlot[];
  readonly #options: ModelLoaderOptions;
  readonly #reference: ReferenceThread;
  /** By file and options; a load under way is here too, so that copies wait for it. */
  readonly #loads = new Map<string, Promise<BackendModel | Failure>>();
  readonly #loaded = new Map<BackendModel, Loaded>();
  #nextId = 0;
  #hostBytes = 0;

  constructor(clock: Clock, slots: readonly GpuSlot[], options: ModelLoaderOptions) {
    this.#clock = clock;
    this.#slots = slots;
    this.#options = options;
    this.#reference = new ReferenceThread(clock, options.timeouts);
  }

  /** The threads' number of a model; -1, which they do not know, when it is not loaded. */
  idOf(model: BackendModel): number {
    return this.#loaded.get(model)?.modelId ?? -1;
  }

  /** What came of a loaded model on each GPU, in their order. */
  onGpus(model: BackendModel): readonly LoadedOnGpu[] {
    return this.#loaded.get(model)?.onGpus ?? [];
  }

  close(): void {
    this.#reference.close();
  }

  async load(path: string, options: LoadModelOptions): Promise<BackendModel | Failure> {
    let folder: ModelFolder;
    try {
      folder = readModelFolder(path, this.#options.modelDirs);
    } catch (error) {
      return failed(error);
    }
    const { onnxPath } = folder;
    if (onnxPath === null) {
      return {
        status: ActionStatus.invalidModelPath,
        message: `${folder.folder} has a model.json but no model.onnx, which only an emulated ` +
          "worker can serve",
      };
    }
    const key = JSON.stringify([onnxPath, options.maxBatchSize, options.maxExecNs]);
    let load = this.#loads.get(key);
    if (load === undefined) {
      load = this.#loadFile(folder, onnxPath, key, options).catch(failed);
      this.#loads.set(key, load);
    }
    const model = await load;
    if (isFailure(model)) {
      // A later try may find the file mended.
      if (this.#loads.get(key) === load) this.#loads.delete(key);
      return model;
    }
    const loaded = this.#loaded.get(model);
    // Unloaded by others while this call waited.
    if (loaded === undefined) return await this.load(path, options);
    loaded.uses++;
    return model;
  }

  unload(model: BackendModel): void {
    const loaded = this.#loaded.get(model);
    if (loaded === undefined || --loaded.uses > 0) return;
    this.#loaded.delete(model);
    this.#loads.delete(loaded.key);
    this.#hostBytes -= model.weightsBytes;
    this.#unloadEverywhere(loaded.modelId);
  }

  #unloadEverywhere(modelId: number): void {
    for (const slot of this.#slots) slot.unload(modelId);
  }

  async #loadFile(
    folder: ModelFolder,
    onnxPath: string,
    key: string,
    options: LoadModelOptions,
  ): Promise<BackendModel | Failure> {
    const { maxModelBytes, onProgress } = this.#options;
    // Given away to the first thread; whoever needs it next reads it again, as it may be large.
    let file: ArrayBuffer | null = await readFile(onnxPath, maxModelBytes);
    const sizeMb = (file.byteLength / 1e6).toFixed(1);
    const hash = await sha256(file);
    const modelId = this.#nextId++;
    const onGpus: LoadedOnGpu[] = [];
    // One after the other: where GPUs share a host, their loads would disturb each other's measuring.
    for (const slot of this.#slots) {
      const request = this.#request(folder, onnxPath, hash, modelId, slot, options);
      const load: RepeatableLoad = {
        request,
        readFile: async () => {
          const again = await readFile(onnxPath, maxModelBytes);
          if (await sha256(again) !== hash) throw new Error(`${onnxPath} has changed since`);
          return again;
        },
      };
      const what = `${onnxPath} (${sizeMb} MB) on ${slot.info.name}`;
      const given: ArrayBuffer = file ?? await load.readFile();
      file = null;
      const reply = await telling(
        this.#clock,
        onProgress,
        `compiling and measuring ${what}`,
        slot.load(load, given),
      );
      const one = isFailure(reply) ? reply : await telling(
        this.#clock,
        onProgress,
        `comparing the results of ${what} with the CPU's`,
        this.#check(folder, hash, slot, load, reply),
      );
      if (isFailure(one)) {
        this.#unloadEverywhere(modelId);
        return { ...one, message: `${onnxPath}: ${one.message}` };
      }
      onGpus.push(one);
    }
    const model = this.#hostRefusal(onGpus) ?? combineGpus(onnxPath, onGpus);
    if (isFailure(model)) {
      this.#unloadEverywhere(modelId);
      return model;
    }
    const notes = [...model.notes];
    if (this.#options.profiles !== "read" && onGpus.some(({ changed }) => changed)) {
      try {
        saveProfiles(folder.jsonPath, hash, onGpus);
      } catch (error) {
        notes.push(`the profile could not be kept in model.json: ${(error as Error).message}`);
      }
    }
    const noted = { ...model, notes };
    this.#hostBytes += noted.weightsBytes;
    this.#loaded.set(noted, { key, modelId, onGpus, uses: 0 });
    return noted;
  }

  #hostRefusal(onGpus: readonly LoadedOnGpu[]): Failure | null {
    const { weightsBytes } = onGpus[0]!.reply;
    const limit = this.#options.hostWeightsBytes;
    if (this.#hostBytes + weightsBytes <= limit) return null;
    return {
      status: ActionStatus.cancelled,
      message: `no host memory for ${weightsBytes} bytes of weights: ${this.#hostBytes} of ` +
        `${limit} are taken; raise host_weights_size in the worker's configuration`,
    };
  }

  /** Compares a model's results with the CPU's, unless that was done before. */
  async #check(
    { json }: ModelFolder,
    hash: string,
    slot: GpuSlot,
    { request, readFile }: RepeatableLoad,
    { buffers, ...reply }: LoadReply,
  ): Promise<LoadedOnGpu | Failure> {
    const { info } = slot;
    const { verify, tolerances } = this.#options;
    const one = { info, request, reply, changed: reply.measured };
    if (verify === "off" || info.kind === "wasm") return { ...one, check: null };
    let check: Difference | null = this.#options.profiles === "renew"
      ? null
      : storedCheck(json, info, hash, reply.dataSha256);
    let changed = one.changed;
    const notes = [...reply.notes];
    if (check === null) {
      const source = { ...request.source, file: await readFile() };
      const expected = await this.#reference.outputs(source);
      if (isFailure(expected)) {
        notes.push(`its results could not be compared with the CPU's: ${expected.message}`);
        return { ...one, check: null, reply: { ...reply, notes } };
      }
      check = compareOutputs(
        reply.outputs,
        buffers,
        expected,
        tolerancesFor(reply, tolerances),
      );
      changed = true;
    }
    if (!isWithin(check)) {
      const message = `on ${info.name}, ${describeDifference(check)}`;
      if (verify === "strict") return { status: ActionStatus.runtimeError, message };
      notes.push(message);
    }
    return { ...one, changed, check, reply: { ...reply, notes } };
  }

  #request(
    { json }: ModelFolder,
    path: string,
    hash: string,
    modelId: number,
    { info }: GpuSlot,
    { maxBatchSize, maxExecNs }: LoadModelOptions,
  ): RepeatableLoad["request"] {
    const { shapes, strictShapes, maxModelBytes, profiles, modelDirs } = this.#options;
    const stored = json?.shapes ?? {};
    const allowed = json?.batch_sizes;
    return {
      modelId,
      source: {
        path,
        realDirs: modelDirs.realDirs,
        maxBytes: maxModelBytes,
        shapes: strictShapes ? { ...stored, ...shapes } : stored,
        generalShapes: strictShapes ? {} : shapes,
        fill: { ...json?.fill, ...this.#options.fill },
      },
      batchSizes: BATCH_SIZES.filter((size) =>
        size === 1 ||
        (size <= Math.min(maxBatchSize, this.#options.maxBatchSize) &&
          (allowed?.includes(size) ?? true))
      ),
      maxExecMs: maxExecNs / 1e6,
      known: profiles === "renew" ? null : knownTimes(json, info, hash),
      budgetMs: LOAD_BUDGET_MS,
    };
  }
}
