import { type Clock, MS } from "../../core/clock.ts";
import type { Request } from "../scheduler.ts";
import type { Model } from "./state.ts";

/** Models whose requests may become hopeless within the same so many nanoseconds are looked at together. */
const BUCKET_NS = 5 * MS;

/**
 * Wakes for models whose most urgent request may have become hopeless. Most never do: they are served
 * long before. So a model costs one step to note, and a timer is shared by all of the same 5 ms.
 */
export class Expiry<R extends Request> {
  readonly #clock: Clock;
  readonly #onDue: (model: Model<R>) => void;
  readonly #buckets = new Map<number, Model<R>[]>();

  constructor(clock: Clock, onDue: (model: Model<R>) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** Calls `onDue` within 5 ms after `dueNs`, unless the model is noted for an earlier time already. */
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
      // Noted again for an earlier time, it has been looked at then.
      if (model.expiryBucket !== bucket) continue;
      model.expiryBucket = Infinity;
      this.#onDue(model);
    }
  }
}
