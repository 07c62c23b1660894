import assert from "node:assert/strict";
import type { TensorSpec } from "../backend.ts";
import { joinInputs, splitOutputs } from "./blobs.ts";

function spec(name: string, bytes: number): TensorSpec {
  return { name, dtype: "uint8", shape: [bytes], batched: true, bytes };
}

const bytes = (...values: number[]) => Uint8Array.from(values);

Deno.test("inputs are gathered per tensor, and empty places are zero", () => {
  const specs = [spec("a", 2), spec("b", 1)];
  const joined = joinInputs(specs, [bytes(1, 2, 3), bytes(4, 5, 6)], 4);
  assert.deepEqual(joined.map((buffer) => new Uint8Array(buffer)), [
    bytes(1, 2, 4, 5, 0, 0, 0, 0),
    bytes(3, 6, 0, 0),
  ]);
});

Deno.test("outputs are divided among the requests and joined in declared order", () => {
  const buffers = [bytes(1, 2, 3, 4, 5, 6).buffer, bytes(7, 8, 9).buffer];
  assert.deepEqual(splitOutputs([spec("a", 2), spec("b", 1)], buffers, 2), [
    bytes(1, 2, 7),
    bytes(3, 4, 8),
  ]);
  assert.deepEqual(splitOutputs([spec("a", 2)], buffers, 3), [
    bytes(1, 2),
    bytes(3, 4),
    bytes(5, 6),
  ]);
});
