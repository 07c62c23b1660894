import assert from "node:assert/strict";
import type { DataType, TensorSpec } from "../backend.ts";
import { compareOutputs, DEFAULT_TOLERANCES, isWithin, tolerancesFor } from "./verify.ts";

function spec(name: string, dtype: DataType): TensorSpec {
  return { name, dtype, shape: [], batched: false, bytes: 0 };
}

function difference(dtype: DataType, a: ArrayBufferView, b: ArrayBufferView) {
  const [x, y] = [a.buffer as ArrayBuffer, b.buffer as ArrayBuffer];
  return compareOutputs([spec("y", dtype)], [x], [y], DEFAULT_TOLERANCES);
}

Deno.test("floats are compared as a share of the largest value", () => {
  const close = difference("float32", Float32Array.of(100, 0.01), Float32Array.of(100, 0.02));
  assert.ok(Math.abs(close.difference - 1e-4) < 1e-8);
  assert.ok(isWithin(close));
  assert.ok(!isWithin(difference("float32", Float32Array.of(1, 2), Float32Array.of(1, 2.1))));
  // Half floats have fewer digits.
  assert.ok(isWithin(difference("float16", Float16Array.of(2, 2.02), Float16Array.of(2, 2))));
  // Near zero, all is rounding.
  assert.ok(isWithin(difference("float32", Float32Array.of(1e-6), Float32Array.of(2e-6))));
});

Deno.test("a model that computes in float16 is as exact as float16, whatever its outputs are", () => {
  const own = { ...DEFAULT_TOLERANCES, float32: 0.001, float16: 0.02 };
  assert.equal(tolerancesFor({ halfPrecision: false }, own).float32, 0.001);
  assert.equal(tolerancesFor({ halfPrecision: true }, own).float32, 0.02);
  assert.equal(tolerancesFor({ halfPrecision: true }, { ...own, float32: 0.5 }).float32, 0.5);
});

Deno.test("what is no number must be none on both", () => {
  const nan = Float32Array.of(NaN, 1, Infinity);
  assert.equal(difference("float32", nan, nan.slice()).difference, 0);
  assert.ok(!isWithin(difference("float32", Float32Array.of(NaN), Float32Array.of(1))));
  assert.ok(!isWithin(difference("float32", Float32Array.of(1), Float32Array.of(NaN))));
  assert.ok(!isWithin(difference("float32", Float32Array.of(1), Float32Array.of(Infinity))));
});

Deno.test("of other types, the share of different elements counts", () => {
  const a = new Int32Array(200);
  const b = a.slice();
  b[7] = 1e6;
  assert.equal(difference("int32", a, b).difference, 1 / 200);
  assert.ok(isWithin(difference("int32", a, b)));
  assert.ok(!isWithin(difference("bool", Uint8Array.of(0, 1), Uint8Array.of(1, 1))));
  assert.ok(!isWithin(difference("uint8", new Uint8Array(2), new Uint8Array(3))), "other sizes");
  assert.ok(
    !isWithin(difference("float32", Float32Array.of(1, 2), Float32Array.of(1))),
    "likewise",
  );
});

Deno.test("the output furthest beyond its tolerance is named", () => {
  const buffers = (...values: number[]) => values.map((value) => Float32Array.of(value).buffer);
  const specs = [spec("a", "float32"), spec("b", "float32"), spec("c", "float32")];
  const worst = compareOutputs(specs, buffers(1, 2, 3), buffers(1, 2.5, 3.1), DEFAULT_TOLERANCES);
  assert.equal(worst.output, "b");
});
