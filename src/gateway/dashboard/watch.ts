/**
 * Watches a cluster for all open pages: the controller is asked once for all of them, and only while there
 * are any.
 */
import { type Clock, every, MS, SECOND, type Timer } from "../../core/clock.ts";
import { type ClusterState, MAX_STATE_NAME } from "../../wire/cluster_state.ts";
import type { ModelIndex } from "../models.ts";
import type { Upstream } from "../upstream.ts";

const PERIOD_NS = 500 * MS;
/** A controller that has not answered for so long is told to be away. */
const PATIENCE_NS = 2 * SECOND;
/** Pages that may be open at a time. */
export const MAX_STREAMS = 64;
/** Events that may wait for a browser; one that is slower is disconnected, and comes back. */
const MAX_WAITING = 16;

/** One that is open. */
interface Page {
  readonly stream: ReadableStreamDefaultController<Uint8Array>;
  /** It has been told all, and is told what is new. */
  ready: boolean;
}

export class Watch {
  readonly #clock: Clock;
  readonly #upstream: Pick<Upstream, "client" | "models">;
  readonly #pages = new Set<Page>();
  readonly #encoder = new TextEncoder();
  #cursor = 0;
  #timer: Timer | null = null;
  /** Since when an answer is waited for; null while none is. */
  #askedNs: number | null = null;
  #away = false;

  constructor(clock: Clock, upstream: Pick<Upstream, "client" | "models">) {
    this.#clock = clock;
    this.#upstream = upstream;
  }

  /** Pages that are open. */
  get opened(): number {
    return this.#pages.size;
  }

  /** A stream of events for one more page; null when there are too many. */
  open(): ReadableStream<Uint8Array> | null {
    if (this.#pages.size >= MAX_STREAMS) return null;
    this.#timer ??= every(this.#clock, PERIOD_NS, () => this.#tick());
    let page: Page;
    return new ReadableStream<Uint8Array>({
      start: (stream) => {
        page = { stream, ready: false };
        this.#pages.add(page);
        // Something at once, so that the browser knows that it is connected.
        this.#send(page, ": watching\n\n");
        this.#greet(page);
      },
      cancel: () => this.#forget(page),
    }, new CountQueuingStrategy({ highWaterMark: MAX_WAITING }));
  }

  /** Ends all streams. */
  close(): void {
    for (const page of [...this.#pages]) this.#end(page);
  }

  /** Tells a page all that there is. Answers come in the order of the questions: what all are told next follows. */
  async #greet(page: Page): Promise<void> {
    try {
      const state = await this.#ask(0);
      page.ready = true;
      this.#send(page, this.#event("state", { ...this.#told(state), fresh: true }));
    } catch (error) {
      page.ready = true;
      this.#tellAway((error as Error).message);
    }
  }

  #forget(page: Page): void {
    this.#pages.delete(page);
    if (this.#pages.size === 0) this.#stop();
  }

  #end(page: Page): void {
    this.#forget(page);
    page.stream.close();
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#cursor = 0;
  }

  async #tick(): Promise<void> {
    const nowNs = this.#clock.now();
    if (this.#askedNs !== null) {
      const patient = nowNs - this.#askedNs < PATIENCE_NS;
      // Something has to be said, or the page takes the gateway for gone.
      if (patient) this.#broadcast(": waiting for the controller\n\n");
      else this.#tellAway("the controller does not answer");
      return;
    }
    this.#askedNs = nowNs;
    try {
      const state = await this.#ask(this.#cursor);
      // A controller that was started anew counts anew.
      const fresh = this.#away || state.cursor < this.#cursor;
      this.#away = false;
      this.#cursor = state.cursor;
      const event = this.#event("state", { ...this.#told(state), fresh });
      for (const page of [...this.#pages]) if (page.ready) this.#send(page, event);
    } catch (error) {
      this.#tellAway((error as Error).message);
    } finally {
      this.#askedNs = null;
    }
  }

  #tellAway(reason: string): void {
    this.#away = true;
    this.#cursor = 0;
    this.#broadcast(this.#event("away", { reason }));
  }

  /** @throws {Error} with what is wrong, while the controller is away. */
  #ask(cursor: number): Promise<ClusterState> {
    const { client } = this.#upstream;
    return new Promise((resolve, reject) =>
      client.clusterState(cursor, (result) => {
        if (result.ok) resolve(result.value);
        else reject(new Error(result.message));
      })
    );
  }

  /** With the names of the models whose figures and actions it tells. */
  #told(state: ClusterState) {
    const { byPath, ofId } = namesIn(this.#upstream.models);
    const ids = new Set([...state.actions.model_id, ...state.planned_actions.model_id]);
    const names = Array.from(ids, (id) => [id, ofId(id)] as const);
    return {
      ...state,
      model_figures: state.model_figures.map((figures) => ({
        ...figures,
        // One that has just been loaded is not known yet, nor one that has been unloaded.
        name: byPath.get(figures.model_path) ?? null,
      })),
      names: names.filter(([, name]) => name !== null),
    };
  }

  #event(name: string, data: object): string {
    return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
  }

  #broadcast(text: string): void {
    for (const page of [...this.#pages]) this.#send(page, text);
  }

  #send(page: Page, text: string): void {
    if (!this.#pages.has(page)) return;
    const { stream } = page;
    if (stream.desiredSize !== null && stream.desiredSize > 0) {
      stream.enqueue(this.#encoder.encode(text));
    } else {
      // Not closed, which would keep what waits until it is read.
      this.#forget(page);
      stream.error(new Error("the browser does not read"));
    }
  }
}

interface Names {
  /** Paths as the state has them: long ones are cut. */
  readonly byPath: ReadonlyMap<string, string>;
  readonly ofId: (modelId: number) => string | null;
}

const namesOf = new WeakMap<ModelIndex, Names>();

/** By what names HTTP clients know models. An index does not change: what is found in it is kept. */
function namesIn(models: ModelIndex): Names {
  let names = namesOf.get(models);
  if (names === undefined) namesOf.set(models, names = findNames(models));
  return names;
}

function findNames(models: ModelIndex): Names {
  const byPath = new Map<string, string>();
  const groups: { readonly id: number; readonly copies: number; readonly name: string }[] = [];
  for (const model of models) {
    for (const { id, copies, path } of model.groups()) {
      byPath.set(path.slice(0, MAX_STATE_NAME), model.name);
      groups.push({ id, copies, name: model.name });
    }
  }
  groups.sort((a, b) => a.id - b.id);
  const ofId = (modelId: number): string | null => {
    let low = 0;
    let high = groups.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const { id, copies } = groups[middle]!;
      if (modelId >= id + copies) low = middle + 1;
      else high = middle;
    }
    const found = groups[low];
    return found !== undefined && found.id <= modelId ? found.name : null;
  };
  return { byPath, ofId };
}
