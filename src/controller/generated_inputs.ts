/** Inputs for requests that bring none. */
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

  /** A worker takes a batch with inputs or one without; in a mixed one, what lacks is made here. */
  complete(inputs: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
    const lacking = inputs.filter(({ length }) => length === 0).length;
    if (lacking === 0 || lacking === inputs.length) return inputs;
    return inputs.map((input) => input.length === 0 ? this.of(bytes) : input);
  }
}
