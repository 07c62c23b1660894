import type { Random } from "../core/random.ts";
import { type Model, NO_INPUT } from "./model.ts";

/** Says which bytes a workload sends to a model. The pieces are shared and never change. */
export type Inputs = (model: Model) => readonly Uint8Array[];

/** Requests without a payload: the worker, or the controller, makes the inputs. */
export const noInputs: Inputs = () => NO_INPUT;

/**
 * One seeded input for each model file, shared by its copies and requests: thousands of models must
 * not cost thousands of buffers, nor a request the time to fill one.
 */
export function seededInputs(random: Random): Inputs {
  const bySource = new Map<string, readonly Uint8Array[]>();
  return (model) => {
    let pieces = bySource.get(model.path);
    if (pieces === undefined || pieces[0]!.length !== model.inputBytes) {
      pieces = [seededInput(model.inputBytes, random)];
      bySource.set(model.path, pieces);
    }
    return pieces;
  };
}

/**
 * A client knows the size of an input, not its type. Most models take float32, so that is what a size
 * that permits it gets: values in [0, 1), where random bytes would be mostly huge numbers and NaN.
 */
export function seededInput(bytes: number, random: Random): Uint8Array {
  if (bytes % 4 !== 0) {
    const input = new Uint8Array(bytes);
    for (let i = 0; i < bytes; i++) input[i] = random.below(256);
    return input;
  }
  const values = new Float32Array(bytes / 4);
  // 24 bits fill a float32's mantissa; more could round up to 1.
  for (let i = 0; i < values.length; i++) values[i] = random.below(0x100_0000) / 0x100_0000;
  return new Uint8Array(values.buffer);
}
