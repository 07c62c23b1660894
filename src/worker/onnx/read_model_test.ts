import assert from "node:assert/strict";
import { encodeModel } from "./proto.ts";
import { readModel } from "./read_model.ts";
import { floatTensor, model, node } from "./testing.ts";

function read(weightType: number) {
  const weights = { ...floatTensor("w", [2, 2], () => 0), dataType: weightType };
  const cast = { name: "to", i: 1, type: 2 };
  const file = encodeModel(
    model(["n", 2], ["n", 2], [
      node("Cast", ["w"], "v", [cast]),
      node("MatMul", ["x", "v"], "y"),
    ], [weights]),
  ).buffer;
  return readModel({
    path: "/m",
    file,
    maxBytes: 1e9,
    realDirs: null,
    shapes: {},
    generalShapes: {},
    fill: {},
  });
}

Deno.test("weights are counted, and whether any are float16", async () => {
  const FLOAT16 = 10, FLOAT32 = 1;
  const single = await read(FLOAT32);
  assert.equal(single.weightsBytes, 16);
  assert.equal(single.halfPrecision, false);
  assert.equal((await read(FLOAT16)).halfPrecision, true);
});
