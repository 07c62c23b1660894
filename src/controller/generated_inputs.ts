/** Inputs for requests that have none. */
import { Random } from "../core/random.ts";

export class GeneratedInputs {
  /** The largest so far. Smaller ones are its beginning, so that many sizes take no more memory. */
  #largest = new Uint8Array(0);

  /** Numbers in [0, 1), the same each time. */
  of(bytes: number): Uint8Array {
    if (bytes > this.#largest.length) {
      const random = new Random(1);
      const floats = Float32Array.from({ length: Math.ceil(bytes / 4) }, () => random.float());
      this.#largest = new Uint8Array(floats.buffer);
    }
    return this.#largest.subarray(0, bytes);
  }

  /**
   * A worker accepts batches with all inputs or with none; missing ones of a mixed batch are made up here.
   */
  complete(inputs: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
    const lacking = inputs.filter(({ length }) => length === 0).length;
    if (lacking === 0 || lacking === inputs.length) return inputs;
    return inputs.map((input) => input.length === 0 ? this.of(bytes) : input);
  }
}
