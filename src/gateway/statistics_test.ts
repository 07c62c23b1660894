import assert from "node:assert/strict";
import { Statistics } from "./statistics.ts";

Deno.test("of more versions than are kept, that which was used longest ago is forgotten", () => {
  const statistics = new Statistics();
  const served = (version: number) => statistics.succeeded("m", `${version}`, 1, 10, 5, 0);
  for (let version = 0; version < 10_000; version++) served(version);
  served(0);
  served(10_000);
  const count = (version: number) => statistics.of("m", `${version}`).success.count;
  assert.deepEqual([0, 1, 2, 9_999, 10_000].map(count), [2, 0, 1, 1, 1]);
});
