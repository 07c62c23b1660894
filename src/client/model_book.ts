/**
 * The models that a client has handles for, over the lives of its connections.
 *
 * A controller that begins anew may give a model another id, and its old id to another model. So after a
 * loss nothing is known of any handle until the controller's list has been seen: a handle keeps its path,
 * and gets the id that the path has now, or it is gone and says why.
 */
import type { Random } from "../core/random.ts";
import type { Header } from "../wire/messages.ts";
import type { Model } from "./model.ts";

type Handle = { -readonly [K in keyof Model]: Model[K] };
type Listing = Header<"LsResponse">["models"];

/** A load that was asked for. */
export interface Load {
  /** By which a controller knows it when it is asked for again: 128 random bits in hexadecimal. */
  readonly key: string;
  readonly path: string;
  readonly copies: number;
  /** Numbers or addresses of the workers that are to have it; none for all. */
  readonly workers: readonly string[];
  /** One for each copy; null for one that has been unloaded since. Empty before the first answer. */
  readonly handles: (Handle | null)[];
}

export class ModelBook {
  /** By what is now their id. */
  #handles = new Map<number, Handle>();
  /** Answered ones, which a controller that has forgotten them is asked for again. */
  readonly #loads = new Set<Load>();
  /** Being unloaded: never found again by their path, as that would unload another copy. */
  readonly #leaving = new Set<Model>();
  /** Whether ids are still those of the first connection, have to be checked, or have been. */
  #ids: "first" | "unknown" | "checked" = "first";
  /** Of these nothing is known yet, even though ids have been checked. */
  readonly #unresolved = new Set<Handle>();
  readonly #goneBecause = new WeakMap<Model, string>();

  get loads(): Iterable<Load> {
    return this.#loads;
  }

  /**
   * Takes note of an answered load, and returns its models: the same objects each time. Those of a load
   * that was asked for again need a `check`.
   */
  loaded(load: Load, answer: Header<"LoadModelResponse">): readonly Model[] {
    const { model_id, copies_created, input_size, output_size } = answer;
    this.#loads.add(load);
    for (let copy = 0; copy < copies_created; copy++) {
      const facts = {
        id: model_id + copy,
        path: load.path,
        inputBytes: input_size,
        outputBytes: output_size,
      };
      const known = load.handles[copy];
      if (known === null) continue;
      const handle = known ?? facts;
      load.handles[copy] = handle;
      // An id that is not known to be right must not hide that of a handle that is yet to be checked.
      if (known === undefined && this.checked) this.#set(handle, facts);
      else this.#unresolved.add(Object.assign(handle, facts));
    }
    return load.handles.filter((handle) => handle !== null);
  }

  /** The handles of the models that the controller lists. Others that were known are gone. */
  listed(listing: Listing): readonly Model[] {
    const before = this.#handles;
    this.#handles = new Map();
    return listing.map((entry) => {
      const facts = factsOf(entry);
      const known = before.get(facts.id);
      return this.#set(known?.path === facts.path ? known : facts, facts);
    });
  }

  /** Whether ids are known to be right: not from `lost` to `check`. */
  get checked(): boolean {
    return this.#ids !== "unknown";
  }

  /** The connection is lost: nothing is known of any id until `check`. */
  lost(): void {
    this.#ids = "unknown";
  }

  /**
   * Compares what the controller lists with the handles. Returns loads of which something is missing:
   * nothing is known of these models until they have been loaded again, or `giveUp`.
   */
  check(listing: Listing): Load[] {
    const byId = new Map(listing.map((entry) => [entry.model_id, entry]));
    const before = new Set([...this.#handles.values(), ...this.#unresolved]);
    this.#ids = "checked";
    this.#handles = new Map();
    this.#unresolved.clear();
    const moved = new Set<Handle>();
    for (const handle of before) {
      const entry = byId.get(handle.id);
      if (entry?.model_path === handle.path) this.#set(handle, factsOf(entry));
      else moved.add(handle);
    }
    const lost: Load[] = [];
    for (const load of this.#loads) {
      const missing = load.handles.filter((handle) => handle !== null && moved.delete(handle));
      if (missing.length === 0) continue;
      for (const handle of missing) this.#unresolved.add(handle!);
      lost.push(load);
    }
    this.#findByPath(moved, listing);
    return lost;
  }

  /** What a load brought is not there any more. */
  giveUp(load: Load, why: string): void {
    this.#loads.delete(load);
    for (const handle of load.handles) {
      if (handle !== null && this.#unresolved.delete(handle)) this.#goneBecause.set(handle, why);
    }
  }

  /** A model is about to be unloaded: it is not to be loaded again. */
  leaving(model: Model): void {
    this.#leaving.add(model);
    for (const load of this.#loads) {
      const copy = load.handles.findIndex((handle) => handle === model);
      if (copy < 0) continue;
      load.handles[copy] = null;
      if (load.handles.every((handle) => handle === null)) this.#loads.delete(load);
      return;
    }
  }

  /** What became of `leaving`. */
  left(model: Model, unloaded: boolean): void {
    this.#leaving.delete(model);
    // Its id may be that of another model by now, at a controller that began anew.
    if (unloaded && this.#handles.get(model.id)?.path === model.path) {
      this.#handles.delete(model.id);
    }
  }

  /** Records that copies were unloaded by id, so that they are not loaded again. */
  unloaded(firstId: number, copies: number): void {
    // Until ids have been checked, these may belong to other models.
    if (!this.checked) return;
    const isOne = (handle: Handle | null) =>
      handle !== null && handle.id >= firstId && handle.id < firstId + copies &&
      this.#handles.get(handle.id) === handle;
    for (const load of this.#loads) {
      load.handles.forEach((handle, copy) => {
        if (isOne(handle)) load.handles[copy] = null;
      });
      if (load.handles.every((handle) => handle === null)) this.#loads.delete(load);
    }
    for (const id of this.#handles.keys()) {
      if (id >= firstId && id < firstId + copies) this.#handles.delete(id);
    }
  }

  /** Whether requests for a model can be sent now: "unknown" may become either. */
  standing(model: Model): "current" | "unknown" | "gone" {
    if (this.#ids === "first") return "current";
    if (this.#ids === "unknown" || this.#unresolved.has(model as Handle)) return "unknown";
    return this.#handles.get(model.id)?.path === model.path ? "current" : "gone";
  }

  /** For people: why a model is gone. */
  whyGone(model: Model): string {
    const why = this.#goneBecause.get(model) ?? "the controller does not list it any more";
    return `${model.path} was model ${model.id} before the connection was lost: ${why}`;
  }

  /** Finds what is listed under the same path, another copy than those that are known, if possible. */
  #findByPath(handles: Iterable<Handle>, listing: Listing): void {
    const free = new Map<string, Listing[number][]>();
    for (const entry of listing) {
      if (this.#handles.has(entry.model_id)) continue;
      const entries = free.get(entry.model_path);
      if (entries === undefined) free.set(entry.model_path, [entry]);
      else entries.push(entry);
    }
    for (const handle of handles) {
      const entry = this.#leaving.has(handle) ? undefined : free.get(handle.path)?.shift();
      if (entry !== undefined) this.#set(handle, factsOf(entry));
    }
  }

  #set(handle: Handle, facts: Handle): Handle {
    this.#handles.set(facts.id, Object.assign(handle, facts));
    return handle;
  }
}

function factsOf(entry: Listing[number]): Handle {
  return {
    id: entry.model_id,
    path: entry.model_path,
    inputBytes: entry.input_size,
    outputBytes: entry.output_size,
  };
}

/** 128 random bits in hexadecimal. */
export function newKey(random: Random): string {
  return Array.from({ length: 4 }, () => random.uint32().toString(16).padStart(8, "0")).join("");
}
