/**
 * What clients that follow the models, such as gateways, are sent: everything at first, and then only when
 * something has changed. Copies that were loaded together are one entry.
 */
import { type Header, MAX_DESCRIBED } from "../../wire/messages.ts";
import type { ModelGroup, ModelGroups } from "./groups.ts";

type Described = Header<"DescribeModelsResponse">;

/** About what one answer may hold: the controller has other things to do meanwhile. */
const PAGE_BYTES = 64 * 1024;

export class ModelCatalogue {
  readonly #groups: ModelGroups;
  readonly #leaving = new Set<ModelGroup>();
  /** Sorted by id, for the present revision; null until somebody asks for it. */
  #sorted: readonly ModelGroup[] | null = null;
  #revision = 1;

  constructor(groups: ModelGroups) {
    this.#groups = groups;
  }

  /** Something that is told of models, or of the controller, is not as it was. */
  changed(): void {
    this.#revision++;
    this.#sorted = null;
  }

  /** Models whose last requests are being served, or that workers are forgetting. */
  get leaving(): ReadonlySet<ModelGroup> {
    return this.#leaving;
  }

  leaves(group: ModelGroup): void {
    this.#leaving.add(group);
    this.changed();
  }

  left(group: ModelGroup): void {
    this.#leaving.delete(group);
    this.changed();
  }

  /** The models with ids from `firstId` on, as many as one answer holds; none to who has them already. */
  from(
    firstId: number,
    knownRevision: number,
  ): Pick<Described, "revision" | "models" | "next_model_id"> {
    const revision = this.#revision;
    if (knownRevision === revision) return { revision, models: [], next_model_id: 0 };
    this.#sorted ??= [...this.#groups, ...this.#leaving].sort((a, b) => a.firstId - b.firstId);
    const models: Described["models"][number][] = [];
    let bytes = 0;
    for (let i = firstFrom(this.#sorted, firstId); i < this.#sorted.length; i++) {
      const group = this.#sorted[i]!;
      if (bytes > PAGE_BYTES || models.length === MAX_DESCRIBED) {
        return { revision, models, next_model_id: group.firstId };
      }
      models.push(this.#describe(group));
      bytes += approximateBytes(group);
    }
    return { revision, models, next_model_id: 0 };
  }

  #describe(group: ModelGroup): Described["models"][number] {
    const { firstId, copies, path, facts, specs } = group;
    return {
      model_id: firstId,
      no_of_copies: copies,
      model_path: path,
      model_status: this.#leaving.has(group)
        ? "unloading"
        : specs.size > 0
        ? "ready"
        : "unavailable",
      input_size: facts.input_size,
      output_size: facts.output_size,
      weights_size: facts.weights_size,
      num_weights_pages: facts.num_weights_pages,
      weights_load_time_ns: facts.weights_load_time_ns,
      supported_batch_sizes: facts.supported_batch_sizes,
      exec_times_ns: facts.exec_times_ns,
      inputs: facts.inputs,
      outputs: facts.outputs,
    };
  }
}

/** Index of the first group whose first id is at least `id`. */
function firstFrom(sorted: readonly ModelGroup[], id: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]!.firstId < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

function approximateBytes({ path, facts }: ModelGroup): number {
  const { inputs, outputs, supported_batch_sizes } = facts;
  return [...inputs, ...outputs].reduce(
    (sum, { name, shape }) => sum + 40 + name.length + 5 * shape.length,
    300 + path.length + 12 * supported_batch_sizes.length,
  );
}
