/**
 * The models of a cluster: loads them on all or on chosen workers, unloads them, and loads them on workers
 * that connect later.
 */
import { RequestStatus } from "../../core/status.ts";
import type { Header } from "../../wire/messages.ts";
import { UPLOAD_PREFIX } from "../../wire/upload.ts";
import { ModelCatalogue } from "./catalogue.ts";
import { finderOf, type ModelGroup, ModelGroups, rangesOf } from "./groups.ts";
import type { ModelsHost, ReadyWorker, Worker } from "./host.ts";
import {
  factsFromState,
  type LoadedModel,
  loadOnWorker,
  loadOnWorkers,
  type ModelRange,
  type OnLoaded,
  sameSizes,
  specOf,
} from "./loading.ts";
import { Registry, type RegistryFile } from "./registry.ts";
import { invalid, type Outcome, type Refusal, RequestKeys } from "./request_keys.ts";
import { StoredUploads } from "./stored_uploads.ts";
import { bringUpload } from "./upload_relay.ts";
import { Uploads } from "./uploads.ts";
import { unloadAllOnWorker, unloadEverywhere } from "./unloading.ts";
import type { WorkerPeer } from "../worker_peer.ts";
import type { WorkerState } from "../worker_query.ts";

/** Ids are 32-bit unsigned on the wire. */
const MAX_MODEL_ID = 0xffff_ffff;

/** What a client is told of models that it has loaded. */
type Loaded = Header<"LoadModelResponse">;

export class Models {
  readonly #host: ModelsHost;
  /** Those that can be used, as groups of copies. */
  readonly groups = new ModelGroups();
  /** What is told of them to clients. */
  readonly catalogue = new ModelCatalogue(this.groups);
  readonly uploads: Uploads;
  readonly #stored: StoredUploads;
  readonly #registry: Registry | null;
  readonly #loads = new RequestKeys<Loaded>();
  readonly #unloads = new RequestKeys<true>();
  #nextId = 0;
  /** Loads that have not ended. */
  readonly #loading = new Set<ModelRange>();
  /** Their copies in all: a client may ask for very many loads at once. */
  #loadingCopies = 0;
  /** What workers that came later are being given, or are to forget again as it was unloaded meanwhile. */
  readonly #equipping = new Set<ModelRange>();
  #unloading = 0;
  #removing = 0;
  /** Answers that wait for the registry. */
  #keeping = 0;

  /** @param file keeps what is loaded beyond this controller's life; null where nothing does. */
  constructor(host: ModelsHost, file: RegistryFile | null) {
    this.#host = host;
    this.uploads = new Uploads(host.clock, host.log, host.options.maxUploadBytes);
    this.#stored = new StoredUploads(
      host.clock,
      host.log,
      (path) => this.uploads.isUnderWay(path),
    );
    this.#registry = file === null ? null : new Registry(file, host.log, () => ({
      nextId: this.#nextId,
      groups: [...this.groups],
      loads: [...this.#loads.remembered()],
      unloads: [...this.#unloads.remembered()],
      removed: [...this.#stored.removed],
    }));
  }

  /** Loads that have not ended. */
  get loading(): number {
    return this.#loading.size;
  }

  /** Loads, unloads and removals that have not ended. */
  get pending(): number {
    return this.#loading.size + this.#unloading + this.#removing + this.#keeping;
  }

  /** Loads what a client asks for, unless it did before. `done` is called once. */
  load(request: Header<"LoadModelRequest">, done: (outcome: Outcome<Loaded>) => void): void {
    const { key, model_path: path, no_of_copies: copies, workers } = request;
    const perform = (done: (outcome: Outcome<Loaded>) => void) => {
      const refusal = this.#host.refusal("load") ?? this.#refusal(path, copies);
      if (refusal !== null) return done(refusal);
      const asked = this.choose(workers);
      if ("status" in asked) return done(asked);
      this.#load(path, copies, asked, workers.length === 0, (firstId, facts, problem) => {
        if (facts === null) return done({ status: RequestStatus.error, message: problem });
        const { input_size, output_size } = facts;
        done({ answer: { model_id: firstId, copies_created: copies, input_size, output_size } });
      });
    };
    this.#loads.once(key, JSON.stringify([path, copies, workers]), perform, (outcome) => {
      if (!("answer" in outcome)) return done(outcome);
      if (this.#allLoaded(outcome.answer)) return this.#keep(() => done(outcome));
      done(invalid("the models that were loaded by this key have been unloaded: use another key"));
    });
  }

  /** Unloads what a client asks for, unless it did before. `done` is called once. */
  unload(request: Header<"UnloadModelRequest">, done: (outcome: Outcome<true>) => void): void {
    const { key, model_id: firstId, no_of_copies: copies } = request;
    const perform = (done: (outcome: Outcome<true>) => void) => this.#unload(firstId, copies, done);
    this.#unloads.once(key, JSON.stringify([firstId, copies]), perform, (outcome) => {
      this.#keep(() => done(outcome));
    });
  }

  /** Announces an upload to the workers that are to have it. `done` is called once. */
  beginUpload(
    owner: object,
    request: Header<"BeginUploadRequest">,
    done: (outcome: Outcome<Header<"BeginUploadResponse">>) => void,
  ): void {
    const workers = this.choose(request.workers);
    if ("status" in workers) return done(workers);
    this.uploads.begin(owner, request, workers.map(({ peer }) => peer), (outcome) => {
      if (!("answer" in outcome) || !this.#stored.takeBack(outcome.answer.model_path)) {
        return done(outcome);
      }
      this.#registry?.change();
      // Otherwise the next controller would have it removed.
      this.#keep(() => done(outcome));
    });
  }

  /** Tells the uploads that connected workers have. */
  listUploads(done: (uploads: Header<"ListUploadsResponse">["uploads"]) => void): void {
    this.#stored.list(this.#peers(), [...this.groups, ...this.catalogue.leaving], done);
  }

  /** Has all workers remove an upload of which nothing is loaded. `done` is called once. */
  removeUpload(
    path: string,
    done: (outcome: Outcome<Header<"RemoveUploadResponse">>) => void,
  ): void {
    const busy = [...this.#loading, ...this.#equipping, ...this.catalogue.leaving];
    const refusal = this.#host.refusal("unload") ??
      this.#stored.refusal(path, this.groups, busy);
    if (refusal !== null) return done(refusal);
    this.#registry?.change();
    this.#removing++;
    this.#stored.remove(path, this.#peers(), (answer) => {
      this.#removing--;
      this.#keep(() => done({ answer }));
    });
  }

  /** Loads a model that nobody has asked for. */
  preload(path: string, copies: number): void {
    this.#load(path, copies, this.#host.ready(), true, (_, facts, problem) => {
      if (facts === null) this.#host.log(`${path} could not be loaded: ${problem}`);
    });
  }

  /** Takes note of what a worker has: ids of models that it kept from before are not given out again. */
  noteIds({ models }: WorkerState): void {
    for (const { model_id } of models) this.#nextId = Math.max(this.#nextId, model_id + 1);
  }

  /**
   * Takes over the models of an earlier controller: those that it has left in the registry, or, where that
   * cannot be read or there was none, those that workers have. Without a registry there are none.
   *
   * @returns where the models come from, for people; "" when there are none.
   */
  restore(): string {
    if (this.#registry === null) return "";
    const kept = this.#registry.read();
    if (kept === null) return this.#adopt() ? "the workers" : "";
    this.#nextId = Math.max(this.#nextId, kept.nextId);
    for (const group of kept.groups) this.groups.add({ ...group, specs: new Map() });
    this.#loads.restore(kept.loads);
    this.#unloads.restore(kept.unloads);
    this.#stored.restore(kept.removed);
    this.catalogue.changed();
    return kept.groups.length > 0 ? "the registry" : "";
  }

  /**
   * Has a worker forget models that are not this controller's, of an earlier one or unloaded meanwhile, and
   * remove uploads that were removed meanwhile.
   */
  dropUnknown(worker: Worker & ReadyWorker): void {
    const { clock, log } = this.#host;
    const { peer, state } = worker;
    const find = finderOf([...this.groups, ...this.#loading]);
    const known = state.models.filter(({ model_id, model_path }) =>
      find(model_id)?.path === model_path
    );
    const strangers = new Set(state.models).difference(new Set(known));
    if (strangers.size === 0) return this.#stored.tell(peer);
    log(`Worker ${peer.id} has ${strangers.size} models that nobody can use: it forgets them`);
    worker.state = { ...state, models: known };
    // Not before: they may need the uploads.
    const then = () => this.#stored.tell(peer);
    unloadAllOnWorker(clock, log, peer, rangesOf([...strangers]), then);
  }

  /**
   * Gives a worker that came later the models that it should have; then calls `done`. Models that it has
   * from before, as when only the connection was lost, need not be loaded.
   */
  equip(worker: ReadyWorker, done: () => void): void {
    const groups = [...this.groups].filter((group) => isFor(group, worker));
    let waiting = groups.length;
    if (waiting === 0) return done();
    for (const group of groups) {
      this.#equipWith(group, worker, () => {
        if (--waiting === 0) done();
      });
    }
  }

  /** A worker is gone: it can run nothing any more. */
  lost({ peer }: Worker): void {
    this.catalogue.changed();
    for (const group of this.groups) {
      if (!group.specs.has(peer.id)) continue;
      group.specs = new Map([...group.specs].filter(([id]) => id !== peer.id));
      this.#host.serve(group);
    }
  }

  /** Takes over the models that workers have; where they disagree, as the first has them. */
  #adopt(): boolean {
    const taken = new Set<number>();
    for (const { state } of this.#host.ready()) {
      for (const range of rangesOf(state.models.filter(({ model_id }) => !taken.has(model_id)))) {
        let facts: LoadedModel | null;
        try {
          facts = factsFromState(state, range);
        } catch {
          // Of no use: it is forgotten with what else nobody knows.
          continue;
        }
        for (let i = 0; i < range.copies; i++) taken.add(range.firstId + i);
        this.groups.add({ ...range, chosen: null, facts: facts!, specs: new Map() });
      }
    }
    this.catalogue.changed();
    this.#registry?.change();
    this.#keep(() => {});
    return taken.size > 0;
  }

  /** Goes on when what has been done will not be forgotten. */
  #keep(done: () => void): void {
    if (this.#registry === null) return done();
    this.#keeping++;
    this.#registry.flush(() => {
      this.#keeping--;
      done();
    });
  }

  #allLoaded({ model_id, copies_created }: Loaded): boolean {
    return this.groups.count(model_id, copies_created) === copies_created;
  }

  #refusal(path: string, copies: number): Refusal | null {
    if (copies < 1) return invalid("no_of_copies must be at least 1, got 0");
    if (this.#stored.isRemoved(path)) return invalid(`${path} was removed: upload it again`);
    const room = Math.min(
      this.#host.options.maxModels - this.groups.copies - this.#loadingCopies,
      MAX_MODEL_ID + 1 - this.#nextId,
    );
    if (copies <= room) return null;
    return invalid(
      `no_of_copies is ${copies}, but this controller has room for ${room} more models`,
    );
  }

  /** The workers that a client names, by number or address; all when it names none. */
  choose(names: readonly string[]): readonly ReadyWorker[] | Refusal {
    const ready = this.#host.ready();
    const nameOf = ({ peer }: ReadyWorker) => `${peer.id} (${peer.link.peer})`;
    const chosen = new Set<ReadyWorker>();
    for (const name of names) {
      const found = ready.find(({ peer }) => name === String(peer.id) || name === peer.link.peer);
      if (found === undefined) {
        return invalid(
          `there is no worker ${name}: those that are connected are ` +
            (ready.map(nameOf).join(", ") || "none"),
        );
      }
      chosen.add(found);
    }
    return names.length === 0 ? ready : [...chosen];
  }

  #peers(): WorkerPeer[] {
    return this.#host.ready().map(({ peer }) => peer);
  }

  #load(
    path: string,
    copies: number,
    asked: readonly ReadyWorker[],
    everywhere: boolean,
    done: (firstId: number, facts: LoadedModel | null, problem: string) => void,
  ): void {
    const firstId = this.#nextId;
    this.#nextId += copies;
    const range = { firstId, copies, path };
    this.#loading.add(range);
    this.#loadingCopies += copies;
    this.#host.onLoad();
    const chosen = everywhere ? null : asked.map(({ peer }) => peer.link.peer);
    const load = this.#loadOn.bind(this);
    loadOnWorkers(this.#host.log, load, asked, range, (facts, specs, problem) => {
      this.#loading.delete(range);
      this.#loadingCopies -= copies;
      this.#host.onLoad();
      if (facts !== null) this.#add({ ...range, chosen, facts, specs }, asked);
      done(firstId, facts, problem);
    });
  }

  /** `asked` are the workers that were asked to load it: those that came meanwhile were not. */
  #add(group: ModelGroup, asked: readonly ReadyWorker[]): void {
    this.groups.add(group);
    this.#registry?.change();
    this.catalogue.changed();
    this.#host.serve(group);
    for (const worker of this.#host.ready()) {
      if (!asked.includes(worker) && isFor(group, worker)) this.#equipWith(group, worker, () => {});
    }
  }

  #unload(firstId: number, copies: number, done: (outcome: Outcome<true>) => void): void {
    const refusal = this.#host.refusal("unload");
    if (refusal !== null) return done(refusal);
    if (copies < 1) return done(invalid("no_of_copies must be at least 1, got 0"));
    const leaving = this.groups.take(firstId, copies);
    if (leaving === null) {
      return done(invalid(
        copies === 1
          ? `model ${firstId} is not loaded: list the models with LS`
          : `models ${firstId} to ${firstId + copies - 1} are not all loaded: list them with LS`,
      ));
    }
    this.#registry?.change();
    const { clock, log, serving } = this.#host;
    let waiting = leaving.length;
    let problem = "";
    this.#unloading++;
    for (const group of leaving) {
      this.catalogue.leaves(group);
      unloadEverywhere(clock, log, serving, () => this.#peers(), group, (found) => {
        this.catalogue.left(group);
        problem ||= found;
        if (--waiting > 0) return;
        this.#unloading--;
        // There is an answer to remember.
        this.#registry?.change();
        done(problem === "" ? { answer: true } : { status: RequestStatus.error, message: problem });
      });
    }
  }

  /** Loads copies of a model on a worker, which first gets the files of an uploaded one that it lacks. */
  #loadOn(worker: ReadyWorker, range: ModelRange, done: OnLoaded): void {
    const { clock, log, options } = this.#host;
    const { peer, state } = worker;
    const load = (done: OnLoaded) => loadOnWorker(clock, log, options, peer, state, range, done);
    load((facts, problem) => {
      if (facts !== null || peer.lost || !range.path.startsWith(UPLOAD_PREFIX)) {
        return done(facts, problem);
      }
      const others = this.#host.ready().filter((other) => other !== worker);
      const from = others.map(({ peer }) => peer);
      bringUpload(log, this.uploads.nextId(), range.path, from, peer, (brought) => {
        if (brought === "") load(done);
        else done(null, brought ?? problem);
      });
    });
  }

  #equipWith(group: ModelGroup, worker: ReadyWorker, done: () => void): void {
    const { peer, state } = worker;
    const { clock, log } = this.#host;
    const range: ModelRange = { ...group };
    this.#equipping.add(range);
    const take = (facts: LoadedModel | null, problem: string) => {
      if (facts === null || !sameSizes(facts, group.facts)) {
        const why = problem || "its model of that path has other sizes: the files differ";
        log(`Worker ${peer.id} cannot serve ${group.path}: ${why}`);
      } else if (!peer.lost) {
        const spec = specOf(facts);
        for (const part of this.groups.within(group)) {
          part.specs = new Map(part.specs).set(peer.id, spec);
          this.catalogue.changed();
          this.#host.serve(part);
        }
      }
      // Unloaded meanwhile: this worker may have been told so before it had them.
      const unloaded = facts === null ? [] : this.groups.missing(group);
      unloadAllOnWorker(clock, log, peer, unloaded, () => this.#equipping.delete(range));
      done();
    };
    let held: LoadedModel | null;
    try {
      held = factsFromState(state, group);
    } catch (error) {
      return take(null, (error as Error).message);
    }
    if (held !== null) take(held, "");
    else this.#loadOn(worker, group, take);
  }
}

/** Whether a worker is to have a group: all are, unless some were chosen; or it has it already. */
function isFor({ chosen, ...range }: ModelGroup, { peer, state }: ReadyWorker): boolean {
  return chosen === null || chosen.includes(peer.link.peer) || holds(state, range);
}

function holds({ models }: WorkerState, { firstId, copies, path }: ModelRange): boolean {
  return models.some(({ model_id, model_path }) =>
    model_id >= firstId && model_id < firstId + copies && model_path === path
  );
}
