/** Loads of models by path: shared among copies, with profiles kept in model.json. */
import { ActionStatus } from "../../core/status.ts";
import {
  type BackendModel,
  type Failure,
  isFailure,
  type LoadModelOptions,
  type TensorSpec,
} from "../backend.ts";
import {
  ModelFileError,
  type ModelFolder,
  type ModelJson,
  readModelFolder,
  readModelJson,
  type TensorDeclaration,
  writeModelJson,
} from "../model_files.ts";
import type { GpuThread } from "./gpu_thread.ts";
import type { InputShapes } from "./plan.ts";
import type { LoadReply, LoadRequest } from "./protocol.ts";

/** Batch sizes that are tried, as far as a model and the request for it allow. */
const BATCH_SIZES = [1, 2, 4, 8, 16];
/** About how long warming up and measuring one model may take. */
const LOAD_BUDGET_MS = 20_000;

export interface ModelLoaderOptions {
  readonly modelDir: string;
  readonly profileKey: string;
  readonly maxModelBytes: number;
  /** Instead of those in model.json. */
  readonly shapes: InputShapes | null;
}

interface Loaded {
  readonly key: string;
  readonly modelId: number;
  readonly hoisted: boolean;
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

function declarations(specs: readonly TensorSpec[]): TensorDeclaration[] {
  return specs.map(({ name, dtype, shape, batched }) => ({
    name,
    dtype,
    shape: batched ? ["batch", ...shape] : [...shape],
  }));
}

export class ModelLoader {
  readonly #thread: GpuThread;
  readonly #options: ModelLoaderOptions;
  /** By file and options; a load under way is here too, so that copies wait for it. */
  readonly #loads = new Map<string, Promise<BackendModel | Failure>>();
  readonly #loaded = new Map<BackendModel, Loaded>();
  #nextId = 0;

  constructor(thread: GpuThread, options: ModelLoaderOptions) {
    this.#thread = thread;
    this.#options = options;
  }

  /** The thread's number of a model; -1, which it does not know, when it is not loaded. */
  idOf(model: BackendModel): number {
    return this.#loaded.get(model)?.modelId ?? -1;
  }

  /** Whether each copy of a loaded model has its own weights on the device. */
  isHoisted(model: BackendModel): boolean {
    return this.#loaded.get(model)?.hoisted ?? false;
  }

  async load(path: string, options: LoadModelOptions): Promise<BackendModel | Failure> {
    let folder: ModelFolder;
    try {
      folder = readModelFolder(path, this.#options.modelDir);
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
    this.#thread.call("unload", { modelId: loaded.modelId }, [], () => {});
  }

  async #loadFile(
    folder: ModelFolder,
    onnxPath: string,
    key: string,
    options: LoadModelOptions,
  ): Promise<BackendModel | Failure> {
    const sizeBytes = Deno.statSync(onnxPath).size;
    if (sizeBytes > this.#options.maxModelBytes) {
      throw new ModelFileError(
        `${onnxPath} has ${sizeBytes} bytes; the limit is ${this.#options.maxModelBytes}`,
      );
    }
    let file: ArrayBuffer;
    try {
      file = (await Deno.readFile(onnxPath)).buffer;
    } catch (error) {
      throw new ModelFileError(`cannot read ${onnxPath}: ${(error as Error).message}`);
    }
    const hash = await sha256(file);
    const modelId = this.#nextId++;
    const request = this.#request(folder.json, hash, modelId, file, options);
    const reply = await new Promise<LoadReply | Failure>((resolve) =>
      this.#thread.call("load", request, [file], resolve)
    );
    if (isFailure(reply)) return { ...reply, message: `${onnxPath}: ${reply.message}` };
    const notes = [...reply.notes];
    if (reply.measured) {
      try {
        this.#saveProfile(folder.jsonPath, hash, request.shapes, reply);
      } catch (error) {
        notes.push(`the profile could not be kept in model.json: ${(error as Error).message}`);
      }
    }
    const model: BackendModel = {
      source: onnxPath,
      inputs: reply.inputs,
      outputs: reply.outputs,
      inputBytes: reply.inputs.reduce((sum, { bytes }) => sum + bytes, 0),
      outputBytes: reply.outputs.reduce((sum, { bytes }) => sum + bytes, 0),
      weightsBytes: reply.weightsBytes,
      batchSizes: reply.batchSizes,
      profiles: [{
        loadWeightsNs: Math.round(reply.loadWeightsMs * 1e6),
        execNs: reply.execMs.map((ms) => Math.round(ms * 1e6)),
      }],
      notes,
    };
    this.#loaded.set(model, { key, modelId, hoisted: reply.hoisted, uses: 0 });
    return model;
  }

  #request(
    json: ModelJson | null,
    hash: string,
    modelId: number,
    file: ArrayBuffer,
    { maxBatchSize, maxExecNs }: LoadModelOptions,
  ): LoadRequest {
    const stored = json?.shapes ?? {};
    const shapes = this.#options.shapes ?? stored;
    const profile = json?.profiles[this.#options.profileKey];
    // Figures of another file, or of other shapes, would mislead.
    const known = profile?.onnx_sha256 === hash && sameShapes(shapes, stored) ? profile : undefined;
    const allowed = json?.batch_sizes;
    return {
      modelId,
      file,
      shapes,
      batchSizes: BATCH_SIZES.filter((size) =>
        size === 1 || (size <= maxBatchSize && (allowed?.includes(size) ?? true))
      ),
      maxExecMs: maxExecNs / 1e6,
      knownExecMs: Object.fromEntries(
        Object.entries(known?.exec_ns ?? {}).map(([size, ns]) => [size, ns / 1e6]),
      ),
      knownLoadWeightsMs: known === undefined ? null : known.weights_load_ns / 1e6,
      budgetMs: LOAD_BUDGET_MS,
    };
  }

  #saveProfile(jsonPath: string, hash: string, shapes: InputShapes, reply: LoadReply): void {
    // Read again: another worker may have added its device's profile meanwhile.
    const json = readModelJson(jsonPath) ?? { source: "", modelled: false, profiles: {} };
    const key = this.#options.profileKey;
    const keptShapes = Object.fromEntries(
      Object.entries(shapes).map(([name, dims]) => [name, [...dims]]),
    );
    const profiles = sameShapes(shapes, json.shapes ?? {}) ? json.profiles : {};
    const old = profiles[key]?.onnx_sha256 === hash ? profiles[key] : undefined;
    const measured = Object.fromEntries(
      reply.batchSizes.map((size, i) => [String(size), Math.round(reply.execMs[i]! * 1e6)]),
    );
    writeModelJson(jsonPath, {
      ...json,
      source: json.source || "measured by clockwork",
      inputs: declarations(reply.inputs),
      outputs: declarations(reply.outputs),
      weights_bytes: reply.weightsBytes,
      ...(Object.keys(keptShapes).length > 0 ? { shapes: keptShapes } : {}),
      profiles: {
        ...profiles,
        [key]: {
          weights_load_ns: Math.round(reply.loadWeightsMs * 1e6),
          exec_ns: { ...old?.exec_ns, ...measured },
          onnx_sha256: hash,
        },
      },
    });
  }
}

function sameShapes(a: InputShapes, b: InputShapes): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length &&
    names.every((name) => a[name]!.join() === b[name]?.join());
}
