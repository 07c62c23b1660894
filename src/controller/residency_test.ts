import assert from "node:assert/strict";
import { Residency } from "./residency.ts";

const [FIRST, SECOND] = [0, 1].map((gpuId) => ({ workerId: 3, gpuId }));

Deno.test("a model is cold when no GPU holds its weights, and a GPU's pages are those of its models", () => {
  const residency = new Residency();
  assert.ok(residency.isCold(7));
  assert.deepEqual(residency.use(FIRST!), { models: 0, pages: 0 });
  residency.loaded(FIRST!, 7, 5);
  residency.loaded(FIRST!, 7, 5);
  residency.loaded(FIRST!, 8, 2);
  residency.loaded(SECOND!, 7, 5);
  assert.deepEqual(residency.use(FIRST!), { models: 2, pages: 7 });
  residency.evicted(FIRST!, 7);
  residency.evicted(FIRST!, 7);
  residency.evicted(SECOND!, 8);
  assert.deepEqual(residency.use(FIRST!), { models: 1, pages: 2 });
  assert.ok(!residency.isCold(7), "the other GPU has it");
  residency.lost(SECOND!);
  residency.lost(SECOND!);
  assert.ok(residency.isCold(7));
  assert.ok(!residency.isCold(8));
  assert.deepEqual(residency.use(SECOND!), { models: 0, pages: 0 });
});
