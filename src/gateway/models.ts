/** The controller's models, by the names and versions that HTTP clients use. */
import type { Catalogue, ModelDescription } from "../client/catalogue.ts";
import type { Model } from "../client/model.ts";
import { modelName } from "../core/model_name.ts";

/** A copy of a model. */
export interface Version {
  /** The copy's model id: it stays the same whatever becomes of other copies. */
  readonly version: string;
  readonly model: Model;
  readonly status: ModelDescription["status"];
}

/** Copies that go by the same name, and take and give the same. */
export class NamedModel {
  readonly name: string;
  readonly #groups: ModelDescription[] = [];

  constructor(name: string, first: ModelDescription) {
    this.name = name;
    this.#groups.push(first);
  }

  add(group: ModelDescription): void {
    this.#groups.push(group);
  }

  /** What holds for all copies. */
  get description(): ModelDescription {
    return this.#groups[0]!;
  }

  /** Of those that stay: what is being unloaded does not count. */
  get copies(): number {
    return this.#groups.reduce(
      (sum, { copies, status }) => status === "unloading" ? sum : sum + copies,
      0,
    );
  }

  /** Copies as they were loaded: groups of consecutive ids. */
  groups(): readonly ModelDescription[] {
    return this.#groups;
  }

  *versions(): Generator<Version> {
    for (const group of this.#groups) {
      for (let copy = 0; copy < group.copies; copy++) yield versionOf(group, copy);
    }
  }

  version(version: string): Version | null {
    const id = /^(0|[1-9]\d{0,9})$/.test(version) ? Number(version) : NaN;
    const group = this.#groups.find((group) => id >= group.id && id < group.id + group.copies);
    return group === undefined ? null : versionOf(group, id - group.id);
  }

  /**
   * The copy for requests that name none: always the first that is ready. The scheduler puts one copy on
   * as many GPUs as it needs, and forms batches of requests for the same copy; requests that are spread
   * over copies would only run in smaller batches, with the same weights in memory many times.
   */
  get any(): Version {
    return versionOf(this.#groups.find(({ status }) => status === "ready") ?? this.description, 0);
  }
}

function versionOf(group: ModelDescription, copy: number): Version {
  const { path, inputBytes, outputBytes, status } = group;
  const id = group.id + copy;
  return { version: String(id), model: { id, path, inputBytes, outputBytes }, status };
}

export class ModelIndex {
  readonly #byName = new Map<string, NamedModel>();
  readonly #byPath = new Map<string, NamedModel>();

  constructor(models: Catalogue["models"]) {
    for (const group of models) {
      const name = modelName(group.path);
      const known = this.#byName.get(name);
      if (known === undefined) this.#byName.set(name, new NamedModel(name, group));
      else if (sameTensors(known.description, group)) known.add(group);
      else this.#byOwnPath(group);
    }
  }

  /** Another model has the name already: this one has its path for a name. */
  #byOwnPath(group: ModelDescription): void {
    const known = this.#byPath.get(group.path);
    if (known === undefined) this.#byPath.set(group.path, new NamedModel(group.path, group));
    else if (sameTensors(known.description, group)) known.add(group);
  }

  get(name: string): NamedModel | undefined {
    return this.#byName.get(name) ?? this.#byPath.get(name);
  }

  *[Symbol.iterator](): Iterator<NamedModel> {
    yield* this.#byName.values();
    yield* this.#byPath.values();
  }
}

function sameTensors(a: ModelDescription, b: ModelDescription): boolean {
  return JSON.stringify([a.inputs, a.outputs]) === JSON.stringify([b.inputs, b.outputs]);
}
