import { type Clock, MS, SECOND, type Timer } from "../core/clock.ts";
import { RequestStatus } from "../core/status.ts";
import type { Header } from "../wire/messages.ts";
import type { Load, ModelBook } from "./model_book.ts";
import { type Done, type Failure, type Result, UNDECIDED } from "./result.ts";

/** Pause before asking the controller again. */
const PAUSE_NS = 100 * MS;
/** How long a load that fails is tried: workers may need time to come back, too. */
const LOAD_LIMIT_NS = 30 * SECOND;

export interface ResumptionParts {
  readonly clock: Clock;
  readonly book: ModelBook;
  readonly ask: {
    readonly ls: (done: Done<Header<"LsResponse">["models"]>) => void;
    readonly load: (load: Load, done: Done<Header<"LoadModelResponse">>) => void;
    readonly unload: (modelId: number) => void;
  };
  readonly onInitializing: (message: string) => void;
  /** More is known of models than before. */
  readonly onProgress: () => void;
}

/**
 * What a client does once it is connected again, before requests for its models are sent: asks the
 * controller for its list, and for the models that it had loaded and that are not there. A controller
 * that knows nothing waits for loads, so it is asked for them at once where it is still initializing; one
 * that remembers them knows them by their keys.
 */
export class Resumption {
  readonly #parts: ResumptionParts;
  readonly #startNs: number;
  /** Loads that it has asked for, and whether each has been answered. */
  readonly #asked = new Map<Load, boolean>();
  readonly #timers = new Set<Timer>();

  constructor(parts: ResumptionParts) {
    this.#parts = parts;
    this.#startNs = parts.clock.now();
    this.#list();
  }

  /** The connection is lost once more, or the client is closed. */
  stop(): void {
    for (const timer of this.#timers) timer.cancel();
  }

  #list(): void {
    const { book, ask, onInitializing, onProgress } = this.#parts;
    ask.ls((result) => {
      if (isOver(result)) return;
      if (result.ok) {
        this.#restore(book.check(result.value));
        return onProgress();
      }
      if (result.status === RequestStatus.initializing) {
        onInitializing(result.message);
        for (const load of book.loads) this.#ask(load);
      }
      this.#later(() => this.#list());
    });
  }

  /** Asks for what is missing; what is missing although it was loaded again is gone. */
  #restore(missing: readonly Load[]): void {
    for (const load of missing) {
      if (this.#asked.get(load)) this.#parts.book.giveUp(load, "it has been unloaded");
      else this.#ask(load);
    }
  }

  #ask(load: Load): void {
    if (this.#asked.has(load)) return;
    this.#asked.set(load, false);
    this.#try(load);
  }

  #try(load: Load): void {
    const { book, ask, onProgress } = this.#parts;
    ask.load(load, (result) => {
      if (isOver(result)) return;
      if (result.ok) {
        book.loaded(load, result.value);
        load.handles.forEach((handle, copy) => {
          // It had been unloaded before, and came back with the others.
          if (handle === null) ask.unload(result.value.model_id + copy);
        });
      } else if (this.#mayYetWork(result)) {
        return this.#later(() => this.#try(load));
      } else {
        book.giveUp(load, `it could not be loaded again: ${result.message}`);
        onProgress();
      }
      this.#asked.set(load, true);
      // While ids are not known, the list is being asked for anyway.
      if (book.checked && ![...this.#asked.values()].includes(false)) this.#list();
    });
  }

  #mayYetWork({ status }: Failure): boolean {
    if (status === RequestStatus.initializing) return true;
    const transient = status === RequestStatus.error || status === RequestStatus.unavailable;
    return transient && this.#parts.clock.now() - this.#startNs < LOAD_LIMIT_NS;
  }

  #later(fn: () => void): void {
    const { clock } = this.#parts;
    const timer = clock.at(clock.now() + PAUSE_NS, () => {
      this.#timers.delete(timer);
      fn();
    });
    this.#timers.add(timer);
  }
}

/** Whether the connection was lost, or the client closed, before the answer. */
function isOver(result: Result<unknown>): boolean {
  return !result.ok && result.status === UNDECIDED;
}
