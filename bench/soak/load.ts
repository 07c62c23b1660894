/** Requests at random moments for models that come and go, and what became of each. */
import type { Random } from "../../src/core/random.ts";
import { type ClockworkClient, type Model, MS, RequestError } from "../../src/client/mod.ts";

/** Time allowed for a request: enough to load any of the models first. */
const DEADLINE_NS = 500 * MS;
/** A request that has had no answer this long after it was sent is unanswered. */
const UNANSWERED_MS = 10_000;
/** Models, copies counted singly, that there are at most and at least. */
const MAX_MODELS = 24;
const MIN_MODELS = 6;

export interface Kind {
  readonly path: string;
  /** GPU time of one request. */
  readonly execMs: number;
}

export class Load {
  sent = 0;
  good = 0;
  loads = 0;
  unloads = 0;
  /** Requests that were refused or failed, by why. */
  readonly failures = new Map<string, number>();
  /** Loads and unloads that failed: there should be none. */
  readonly faults: string[] = [];
  readonly #client: ClockworkClient;
  readonly #kinds: readonly Kind[];
  readonly #random: Random;
  #models: { readonly model: Model; readonly execMs: number }[] = [];
  /** When requests that wait were sent, by number. */
  readonly #waiting = new Map<number, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(client: ClockworkClient, kinds: readonly Kind[], random: Random) {
    this.#client = client;
    this.#kinds = kinds;
    this.#random = random;
  }

  /** Requests that have waited for too long. */
  get unanswered(): number {
    const nowMs = performance.now();
    let late = 0;
    for (const sentMs of this.#waiting.values()) if (nowMs - sentMs > UNANSWERED_MS) late++;
    return late;
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Models, copies counted singly. */
  get models(): number {
    return this.#models.length;
  }

  /** Loads models until there are some. */
  async begin(): Promise<void> {
    while (this.#models.length < MIN_MODELS) await this.#loadModel();
    await this.#client.ready();
  }

  /** Loads or unloads one. */
  async changeModels(): Promise<void> {
    const count = this.#models.length;
    const grow = count <= MIN_MODELS || (count < MAX_MODELS && this.#random.below(2) === 0);
    try {
      if (grow) await this.#loadModel();
      else await this.#unloadModel();
    } catch (error) {
      this.faults.push((error as Error).message);
    }
  }

  /** Sends requests at random, so that `gpus()` GPUs work for this part of the time, until `stop`. */
  run(load: number, gpus: () => number): void {
    let dueMs = performance.now();
    const step = () => {
      if (this.#stopped) return;
      const nowMs = performance.now();
      while (dueMs <= nowMs) {
        const { model, execMs } = this.#models[this.#random.below(this.#models.length)]!;
        this.#ask(model);
        dueMs += this.#random.exponential(execMs / (load * Math.max(1, gpus())));
      }
      this.#timer = setTimeout(step, dueMs - nowMs);
    };
    step();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #loadModel(): Promise<void> {
    const { path, execMs } = this.#kinds[this.#random.below(this.#kinds.length)]!;
    const loaded = await this.#client.loadModel(path, 1 + this.#random.below(3));
    for (const model of loaded) this.#models.push({ model, execMs });
    this.loads++;
  }

  async #unloadModel(): Promise<void> {
    const [gone] = this.#models.splice(this.#random.below(this.#models.length), 1);
    await this.#client.unloadModel(gone!.model);
    this.unloads++;
  }

  #ask(model: Model): void {
    const number = this.sent++;
    this.#waiting.set(number, performance.now());
    this.#client.infer(model, null, { deadlineNs: DEADLINE_NS }).then(
      () => this.good++,
      (error) => {
        if (!(error instanceof RequestError)) throw error;
        // Times and names of models differ from request to request.
        const why = `${error.from}: ${error.message.replace(/^inference on \S+ failed: /, "")}`
          .replaceAll(/\d+(\.\d+)?/g, "N");
        this.failures.set(why, (this.failures.get(why) ?? 0) + 1);
      },
    ).finally(() => this.#waiting.delete(number));
  }
}
