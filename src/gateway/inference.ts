/** Runs an inference request: an HTTP batch of n becomes n requests to the controller. */
import type { Client } from "../client/client.ts";
import type { InferOptions, Model } from "../client/model.ts";
import type { Failure } from "../client/result.ts";
import { payloads } from "../wire/payload_pool.ts";

/** What came of a batch: every output, or the first failure. */
export type Outcome =
  | { readonly ok: true; readonly outputs: readonly Uint8Array[] }
  | { readonly ok: false; readonly failure: Failure };

/**
 * Asks for one inference for each of `inputs`, all with the same options.
 * One that fails fails the batch, at once. The outputs are to be given back with {@link releaseAll}.
 */
export function inferAll(
  client: Client,
  model: Model,
  inputs: readonly (readonly Uint8Array[])[],
  options: InferOptions,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const outputs = new Array<Uint8Array>(inputs.length);
    let waiting = inputs.length;
    let failed = false;
    inputs.forEach((input, i) => {
      // A failure never comes within the call, so that all are asked for before the first has failed.
      client.infer(model, input, options, (result) => {
        waiting--;
        if (result.ok && !failed) {
          outputs[i] = result.value;
          if (waiting === 0) resolve({ ok: true, outputs });
        } else if (result.ok) {
          payloads.release(result.value);
        } else if (!failed) {
          failed = true;
          releaseAll(outputs.filter((output) => output !== undefined));
          resolve({ ok: false, failure: result });
        }
      });
    });
  });
}

/** Gives the memory of outputs back that nothing reads any more. */
export function releaseAll(outputs: readonly Uint8Array[]): void {
  for (const output of outputs) payloads.release(output);
}
