import assert from "node:assert/strict";
import { predictedMs } from "./measure.ts";

Deno.test("what the machine did besides is not predicted", () => {
  assert.equal(predictedMs([5, 1, 2, 3, 4, 1, 2, 3, 900, 800]), 5);
  assert.equal(predictedMs([2, 3, 1]), 3);
  assert.equal(predictedMs([7]), 7);
});
