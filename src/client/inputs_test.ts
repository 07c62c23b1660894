import assert from "node:assert/strict";
import { Random } from "../core/random.ts";
import { seededInput, seededInputs } from "./inputs.ts";

Deno.test("inputs are shared by the copies of a model, and are of its size", () => {
  const inputs = seededInputs(new Random(1));
  const model = (id: number, path: string, inputBytes: number) => ({
    id,
    path,
    inputBytes,
    outputBytes: 0,
  });
  const first = inputs(model(0, "a", 400));
  assert.equal(inputs(model(1, "a", 400)), first);
  assert.notDeepEqual(inputs(model(2, "b", 400)), first);
  // The file may have been replaced by another.
  assert.equal(inputs(model(3, "a", 10))[0]!.length, 10);
});

Deno.test("inputs are floats from 0 to 1 where that fits, other bytes elsewhere, and the same by seed", () => {
  const floats = new Float32Array(seededInput(4000, new Random(2)).buffer);
  assert.ok(floats.every((value) => value >= 0 && value < 1));
  assert.ok(new Set(floats).size > 900);
  const bytes = seededInput(4001, new Random(2));
  assert.ok(Math.max(...bytes) > 250 && Math.min(...bytes) < 5);
  assert.deepEqual(seededInput(4001, new Random(2)), bytes);
  assert.equal(seededInput(0, new Random(2)).length, 0);
});
