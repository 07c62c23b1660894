import assert from "node:assert/strict";
import { describeError } from "./errors.ts";

Deno.test("what ONNX Runtime throws is told without where it was found", () => {
  const cases: [unknown, string | RegExp][] = [
    [
      new Error("failed to call OrtRun(). ERROR_CODE: 2, ERROR_MESSAGE: Bad  shape\nhere"),
      "Bad shape here",
    ],
    [new Error("/a/b/tensor.cc:12 GetSize Out of bounds"), "Out of bounds"],
    [
      new Error(
        "x/load.h:56 void a::f(const std::map<int(int)> &, bool) [T = int] Only 9 is known",
      ),
      "Only 9 is known",
    ],
    [new Error("std::bad_alloc"), "out of memory: std::bad_alloc"],
    [2144512, /without saying why/],
    [new Error("2144512"), /without saying why/],
    [new Error(""), /without saying why/],
    ["text", "text"],
  ];
  for (const [thrown, expected] of cases) {
    if (typeof expected === "string") assert.equal(describeError(thrown), expected);
    else assert.match(describeError(thrown), expected);
  }
  assert.equal(describeError(new Error("x".repeat(5000))).length, 1000);
});
