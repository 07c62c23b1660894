import { type Clock, MS } from "../../core/clock.ts";
import type { Request } from "../scheduler.ts";
import type { Model } from "./state.ts";

/**
 * Models whose requests may become hopeless within the same interval of this length are checked together.
 */
const BUCKET_NS = 5 * MS;

/**
 * Calls back for models whose most urgent request may have become hopeless. Most never do, since they are
 * served long before. Registering a model is therefore O(1), and all models of the same 5 ms share a timer.
 */
export class Expiry<R extends Request> {
  readonly #clock: Clock;
  readonly #onDue: (model: Model<R>) => void;
  readonly #buckets = new Map<number, Model<R>[]>();

  constructor(clock: Clock, onDue: (model: Model<R>) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /**
   * Calls `onDue` within 5 ms after `dueNs`, unless the model is already registered for an earlier time.
   */
  note(model: Model<R>, dueNs: number): void {
    const present = Math.floor(this.#clock.now() / BUCKET_NS);
    const bucket = Math.max(present, Math.floor(dueNs / BUCKET_NS)) + 1;
    if (model.expiryBucket <= bucket) return;
    model.expiryBucket = bucket;
    const models = this.#buckets.get(bucket);
    if (models !== undefined) {
      models.push(model);
      return;
    }
    this.#buckets.set(bucket, [model]);
    this.#clock.at(bucket * BUCKET_NS, () => this.#fire(bucket));
  }

  #fire(bucket: number): void {
    const models = this.#buckets.get(bucket)!;
    this.#buckets.delete(bucket);
    for (const model of models) {
      // If it was registered again for an earlier time, it has been checked then.
      if (model.expiryBucket !== bucket) continue;
      model.expiryBucket = Infinity;
      this.#onDue(model);
    }
  }
}
