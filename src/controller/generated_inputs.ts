/** Inputs for requests that have none. */
import { Random } from "../core/random.ts";

export class GeneratedInputs {
  readonly #made = new Map<number, Uint8Array>();

  /** Numbers in [0, 1), the same each time. */
  of(bytes: number): Uint8Array {
    let input = this.#made.get(bytes);
    if (input === undefined) {
      const random = new Random(bytes);
      const floats = Float32Array.from({ length: bytes >> 2 }, () => random.float());
      input = new Uint8Array(bytes);
      input.set(new Uint8Array(floats.buffer));
      this.#made.set(bytes, input);
    }
    return input;
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
