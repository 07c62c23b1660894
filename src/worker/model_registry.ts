/** The models that a worker knows, by id. Copies of a model have their own ids and share the rest. */
import { ActionStatus } from "../core/status.ts";
import type { Header, ModelFacts, Signature } from "../wire/messages.ts";
import { uploadOf } from "../wire/upload.ts";
import type { BackendModel, Failure } from "./backend.ts";
import { pagesOf } from "./weights_cache.ts";

/** One copy of a model. */
export interface Model {
  readonly id: number;
  /** As the controller named it. */
  readonly path: string;
  readonly backendModel: BackendModel;
  /** Pages that its weights take on a GPU. */
  readonly pages: number;
  readonly facts: ModelFacts;
  readonly signature: Signature;
  /** Copies that are left of those that were loaded together: the last one's end frees the memory. */
  readonly load: { copies: number };
  /** It is being unloaded: nothing new may begin with it. */
  leaving: boolean;
}

/** Ids are 32-bit unsigned on the wire. */
const MAX_ID = 0xffff_ffff;
/** What GetWorkerState's list of models may take on the wire: its header's limit, with room to spare. */
const MAX_LISTED_BYTES = 28 * 2 ** 20;

/** About what one model takes in that list: names of fields, numbers, and its path. */
function listedBytes(path: string, batchSizes: number): number {
  return 250 + 12 * batchSizes + new TextEncoder().encode(path).length;
}

/** About what a signature takes there; those of several loads may be equal, and then take less. */
function signatureBytes({ inputs, outputs }: Signature): number {
  const encoder = new TextEncoder();
  return [...inputs, ...outputs].reduce(
    (sum, { name, shape }) => sum + 40 + encoder.encode(name).length + 9 * shape.length,
    20,
  );
}

export class ModelRegistry {
  readonly #models = new Map<number, Model>();
  readonly #maxModels: number;
  #listedBytes = 0;

  constructor(maxModels: number) {
    this.#maxModels = maxModels;
  }

  get size(): number {
    return this.#models.size;
  }

  get(id: number): Model | undefined {
    return this.#models.get(id);
  }

  /** All models, by ascending id. */
  list(): Model[] {
    return [...this.#models.values()].sort((a, b) => a.id - b.id);
  }

  /** Paths of the uploads of which there are models. */
  uploads(): ReadonlySet<string> {
    const paths = new Set<string>();
    for (const { path } of this.#models.values()) paths.add(path);
    return new Set([...paths].map(uploadOf).filter((path) => path !== null));
  }

  /** All models, with what is the same for many of them told once. */
  state(): Pick<Header<"GetWorkerStateResult">, "signatures" | "models"> {
    const signatures: Signature[] = [];
    const byText = new Map<string, number>();
    const bySignature = new Map<Signature, number>();
    const indexOf = (signature: Signature): number => {
      let index = bySignature.get(signature);
      if (index === undefined) {
        const text = JSON.stringify(signature);
        index = byText.get(text) ?? signatures.push(signature) - 1;
        byText.set(text, index);
        bySignature.set(signature, index);
      }
      return index;
    };
    const models = this.list().map(({ id, path, facts, signature }) => ({
      model_id: id,
      model_path: path,
      ...facts,
      signature: indexOf(signature),
    }));
    return { signatures, models };
  }

  /** Why `copies` models cannot be made from id `firstId` on, or null if they can. */
  refusal(firstId: number, copies: number, path: string): Failure | null {
    if (firstId + copies - 1 > MAX_ID) {
      return {
        status: ActionStatus.invalidModelId,
        message: `${copies} copies from model id ${firstId} on go past the last id ${MAX_ID}`,
      };
    }
    if (this.#models.size + copies > this.#maxModels) {
      return {
        status: ActionStatus.cancelled,
        message: `this worker has ${this.#models.size} models and may have ${this.#maxModels}: ` +
          `there is no room for ${copies} more; raise max_models in the worker's configuration`,
      };
    }
    if (this.#listedBytes + copies * listedBytes(path, 8) > MAX_LISTED_BYTES) {
      return {
        status: ActionStatus.cancelled,
        message:
          `${copies} more models with a path of ${path.length} characters would not fit into ` +
          "one message of the worker's state; use shorter paths or fewer copies",
      };
    }
    for (let id = firstId; id < firstId + copies; id++) {
      const taken = this.#models.get(id);
      if (taken !== undefined) {
        return {
          status: ActionStatus.invalidModelId,
          message: `model id ${id} is taken by ${taken.path}; use ids that are free`,
        };
      }
    }
    return null;
  }

  /** Makes the copies; {@link refusal} must have said that they can be made. */
  add(
    firstId: number,
    copies: number,
    path: string,
    backendModel: BackendModel,
    facts: ModelFacts,
    signature: Signature,
  ): void {
    this.#listedBytes += copies * listedBytes(path, facts.supported_batch_sizes.length) +
      signatureBytes(signature);
    const load = { copies };
    const pages = facts.num_weights_pages;
    for (let id = firstId; id < firstId + copies; id++) {
      const leaving = false;
      this.#models.set(id, { id, path, backendModel, pages, facts, signature, load, leaving });
    }
  }

  /** The models among `copies` ids from `firstId` on. */
  inRange(firstId: number, copies: number): Model[] {
    const found: Model[] = [];
    // Whichever is shorter: a peer may name a range of a million.
    if (copies > this.#models.size) {
      for (const model of this.#models.values()) {
        if (model.id >= firstId && model.id < firstId + copies) found.push(model);
      }
      return found;
    }
    for (let id = firstId; id < firstId + copies; id++) {
      const model = this.#models.get(id);
      if (model !== undefined) found.push(model);
    }
    return found;
  }

  /** Forgets a copy; returns whether it was the last one of its load. */
  remove(model: Model): boolean {
    if (!this.#models.delete(model.id)) return false;
    this.#listedBytes -= listedBytes(model.path, model.facts.supported_batch_sizes.length);
    if (--model.load.copies > 0) return false;
    this.#listedBytes -= signatureBytes(model.signature);
    return true;
  }
}

/**
 * A model's facts as they are told to the controller. Where GPUs differ, times are the slowest one's:
 * a prediction that is too long wastes time, one that is too short breaks promises.
 */
export function modelFacts(model: BackendModel, pageBytes: number): ModelFacts {
  return {
    input_size: model.inputBytes,
    output_size: model.outputBytes,
    weights_size: model.weightsBytes,
    num_weights_pages: pagesOf(model.pagedBytes ?? model.weightsBytes, pageBytes),
    weights_load_time_ns: Math.max(...model.profiles.map((profile) => profile.loadWeightsNs)),
    supported_batch_sizes: [...model.batchSizes],
    exec_times_ns: model.batchSizes.map((_, i) =>
      Math.max(...model.profiles.map((profile) => profile.execNs[i] ?? 0))
    ),
  };
}
