import assert from "node:assert/strict";
import { describeStatus, RequestError, UNDECIDED } from "./result.ts";

Deno.test("a status is told in words, and one that is not known by its number", () => {
  assert.deepEqual([0, 8, UNDECIDED, 77].map(describeStatus), [
    "success (0)",
    "could not start in time (8)",
    "undecided (256)",
    "status 77",
  ]);
});

Deno.test("an error says what failed, and why if anybody said so", () => {
  const failure = { ok: false, from: "controller", status: 7, latencyNs: 1 } as const;
  const silent = new RequestError("inference on m", { ...failure, message: "" });
  assert.equal(`${silent}`, "RequestError: inference on m failed: skipped (7)");
  const told = new RequestError("inference on m", { ...failure, message: "no time" });
  assert.equal(told.message, "inference on m failed: no time");
  assert.deepEqual([told.from, told.status], ["controller", 7]);
});
