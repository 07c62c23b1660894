import assert from "node:assert/strict";
import { allTensors } from "./graph.ts";
import { lighten } from "./lighten.ts";
import { decodeModel, encodeModel } from "./proto.ts";
import { floatTensor, model, node } from "./testing.ts";

function file(): Uint8Array {
  return encodeModel(model(["n", 256], ["n", 128], [
    node("MatMul", ["x", "w"], "m"),
    node("Add", ["m", "b"], "y"),
  ], [
    floatTensor("w", [256, 128], (i) => i),
    floatTensor("b", [128], (i) => -i),
  ]));
}

Deno.test("large weights are found again in the file, at the place that is named", () => {
  // A view that does not begin where its memory does.
  const whole = file();
  const padded = new Uint8Array(whole.length + 5);
  padded.set(whole, 5);
  const bytes = padded.subarray(5);
  const light = lighten(decodeModel(bytes), bytes, 0);
  assert.ok(light.bytes.length < 2000, `${light.bytes.length}`);
  const [w, b] = allTensors(decodeModel(light.bytes).graph);
  assert.equal(b!.rawData!.length, 512, "small ones stay");
  const { location, offset, length } = Object.fromEntries(
    w!.externalData!.map(({ key, value }) => [key, value]),
  );
  const [own] = light.externalData;
  assert.equal(own!.path, location);
  const found = own!.data.slice(Number(offset), Number(offset) + Number(length));
  const values = new Float32Array(found.buffer);
  assert.equal(values.length, 256 * 128);
  assert.ok(values.every((value, i) => value === i));
});

Deno.test("small files, and models with functions, are left alone", () => {
  const bytes = file();
  // Not by assert.equal, which takes minutes and gigabytes to say how large arrays differ.
  assert.ok(lighten(decodeModel(bytes), bytes).bytes === bytes);
  const withFunctions = { ...decodeModel(bytes), functions: [{}] };
  assert.ok(lighten(withFunctions, bytes, 0).bytes === bytes);
});
