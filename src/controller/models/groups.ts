/** The models that a controller has, as groups of copies that were loaded together. */
import type { ModelSpec } from "../../scheduler/scheduler.ts";
import type { LoadedModel, ModelRange } from "./loading.ts";

/** Copies of one model, and the workers that can run them. */
export interface ModelGroup extends ModelRange {
  /** Addresses of the workers that are to have it; null for all. */
  readonly chosen: readonly string[] | null;
  /** As the first worker reported them. */
  readonly facts: LoadedModel;
  /** By worker. Replaced, not changed: the scheduler keeps what it was given. */
  specs: ReadonlyMap<number, ModelSpec>;
}

export class ModelGroups {
  readonly #groups = new Set<ModelGroup>();
  #copies = 0;

  /** Models, copies counted singly. */
  get copies(): number {
    return this.#copies;
  }

  [Symbol.iterator](): Iterator<ModelGroup> {
    return this.#groups.values();
  }

  add(group: ModelGroup): void {
    this.#groups.add(group);
    this.#copies += group.copies;
  }

  /** The groups whose copies were all among those of `range`: it, or what is left of it. */
  within({ firstId, copies }: ModelRange): ModelGroup[] {
    return [...this.#groups].filter((group) =>
      group.firstId >= firstId && group.firstId + group.copies <= firstId + copies
    );
  }

  /** The copies of `range` that no group has. */
  missing({ firstId, copies, path }: ModelRange): ModelRange[] {
    const missing: ModelRange[] = [];
    let nextId = firstId;
    const until = (endId: number) => {
      if (endId > nextId) missing.push({ firstId: nextId, copies: endId - nextId, path });
    };
    const parts = this.within({ firstId, copies, path }).sort((a, b) => a.firstId - b.firstId);
    for (const part of parts) {
      until(part.firstId);
      nextId = part.firstId + part.copies;
    }
    until(firstId + copies);
    return missing;
  }

  /** How many of `copies` ids from `firstId` on have a model. */
  count(firstId: number, copies: number): number {
    let count = 0;
    for (const group of this.#groups) {
      const from = Math.max(firstId, group.firstId);
      const until = Math.min(firstId + copies, group.firstId + group.copies);
      count += Math.max(0, until - from);
    }
    return count;
  }

  *models(): Generator<{ id: number; path: string; facts: LoadedModel }> {
    for (const { firstId, copies, path, facts } of this.#groups) {
      for (let id = firstId; id < firstId + copies; id++) yield { id, path, facts };
    }
  }

  /**
   * Takes the models of `copies` ids from `firstId` on out of their groups, and returns them, a group of
   * each that they were in; null when some of these ids have no model, and then nothing has changed.
   */
  take(firstId: number, copies: number): ModelGroup[] | null {
    const endId = firstId + copies;
    const hit = [...this.#groups].filter((group) =>
      group.firstId < endId && firstId < group.firstId + group.copies
    );
    const taken = hit.map((group): ModelGroup => {
      const from = Math.max(firstId, group.firstId);
      const until = Math.min(endId, group.firstId + group.copies);
      return { ...group, firstId: from, copies: until - from };
    });
    if (taken.reduce((sum, range) => sum + range.copies, 0) !== copies) return null;
    hit.forEach((group, i) => {
      const range = taken[i]!;
      this.#groups.delete(group);
      const before = range.firstId - group.firstId;
      const after = group.copies - before - range.copies;
      if (before > 0) this.#groups.add({ ...group, copies: before });
      if (after > 0) {
        this.#groups.add({ ...group, firstId: range.firstId + range.copies, copies: after });
      }
    });
    this.#copies -= copies;
    return taken;
  }
}

/** Returns what finds the range that has an id, among ranges that do not overlap. */
export function finderOf<R extends ModelRange>(ranges: Iterable<R>): (id: number) => R | undefined {
  const sorted = [...ranges].sort((a, b) => a.firstId - b.firstId);
  return (id) => {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]!.firstId <= id) low = middle + 1;
      else high = middle;
    }
    const range = sorted[low - 1];
    return range !== undefined && id < range.firstId + range.copies ? range : undefined;
  };
}

/** Joins models whose ids follow each other and whose paths are the same. `models` need not be sorted. */
export function rangesOf(
  models: readonly { readonly model_id: number; readonly model_path: string }[],
): ModelRange[] {
  const ranges: { firstId: number; copies: number; path: string }[] = [];
  for (const { model_id, model_path } of models.toSorted((a, b) => a.model_id - b.model_id)) {
    const last = ranges.at(-1);
    if (last?.path === model_path && last.firstId + last.copies === model_id) last.copies++;
    else ranges.push({ firstId: model_id, copies: 1, path: model_path });
  }
  return ranges;
}
