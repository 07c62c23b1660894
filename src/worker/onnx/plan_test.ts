import assert from "node:assert/strict";
import { type InputShapes, planGraph } from "./plan.ts";
import type { Model } from "./proto.ts";
import { floatTensor, model, node, valueInfo } from "./testing.ts";

function graph(shape: readonly (number | string)[]): Model {
  return model(shape, ["n", 4], [node("Identity", ["x"], "y")], []);
}

function refusal(changed: Model, shapes: InputShapes = {}): string {
  let message = "";
  assert.throws(() => planGraph(changed, shapes), (error) => {
    message = String(error);
    return message.startsWith("ModelShapeError");
  });
  return message;
}

Deno.test("an open first dimension is the batch", () => {
  const plan = planGraph(graph(["n", 4]), {});
  assert.deepEqual(plan, {
    inputs: [{ name: "x", dtype: "float32", dims: [1, 4] }],
    outputs: [{ name: "y", dtype: "float32" }],
    shapes: {},
    batchable: true,
  });
});

Deno.test("a fixed first dimension, or an input without it, leaves nothing to batch", () => {
  assert.equal(planGraph(graph([1, 4]), {}).batchable, false);
  const mixed = graph(["n", 4]);
  mixed.graph.input.push(valueInfo("rate", [], 7));
  const plan = planGraph(mixed, {});
  assert.equal(plan.batchable, false);
  assert.deepEqual(plan.inputs[1], { name: "rate", dtype: "int64", dims: [] });
});

Deno.test("given sizes close dynamic dimensions", () => {
  const plan = planGraph(graph(["n", 3, "h", "w"]), { x: [1, 3, 48, 192] });
  assert.deepEqual(plan.inputs[0]!.dims, [1, 3, 48, 192]);
  assert.equal(plan.batchable, true);
});

Deno.test("sizes for any model are taken where they fit, before the model's own", () => {
  const open = graph(["n", "h", 4]);
  const own = { x: [1, 7, 4] };
  const dims = (general: InputShapes) => planGraph(open, own, general).inputs[0]!.dims;
  assert.deepEqual(dims({ x: [1, 5, 4] }), [1, 5, 4]);
  assert.deepEqual(dims({ x: [1, 5, 5], other: [2] }), [1, 7, 4], "they do not fit");
  assert.deepEqual(planGraph(open, own, { x: [1, 5, 4] }).shapes, { x: [1, 5, 4] });
  assert.deepEqual(planGraph(graph([1, 4]), {}, { x: [1, 4] }).shapes, {}, "nothing is open");
});

Deno.test("a size that is given for one input holds for all dimensions of the same name", () => {
  const text = graph(["n", "length"]);
  text.graph.input.push(
    valueInfo("mask", ["n", "length"]),
    valueInfo("image", ["n", "?", "width"]),
  );
  const dims = (shapes: InputShapes) => planGraph(text, shapes).inputs.map(({ dims }) => dims);
  const image = [1, 7, 9];
  assert.deepEqual(dims({ x: [1, 5], image }), [[1, 5], [1, 5], [1, 7, 9]]);
  assert.deepEqual(dims({ x: [1, 5], mask: [1, 6], image }), [[1, 5], [1, 6], [1, 7, 9]]);
  text.graph.input.push(valueInfo("types", ["n", "length"]), valueInfo("other", ["n", "?"]));
  assert.match(
    refusal(text, { x: [1, 5], mask: [1, 6], image }),
    /"types" leaves dimension 1 open, input "other" .*--shape types=1,SIZE --shape other=1,SIZE or /,
  );
});

Deno.test("inputs may be called like what every object has", () => {
  for (const name of ["constructor", "toString", "__proto__"]) {
    const odd = graph(["n", 4]);
    odd.graph.input[0] = valueInfo(name, ["n", 4]);
    assert.deepEqual(planGraph(odd, {}).inputs, [{ name, dtype: "float32", dims: [1, 4] }]);
  }
});

Deno.test("initializers listed as inputs are not inputs", () => {
  const changed = graph(["n", 4]);
  changed.graph.input.push(valueInfo("w", [4]));
  changed.graph.initializer.push(floatTensor("w", [4], () => 1));
  assert.deepEqual(planGraph(changed, {}).inputs.map((input) => input.name), ["x"]);
});

Deno.test("what cannot be served names the tensor and the way out", () => {
  assert.match(
    refusal(graph(["n", 3, "h", "w"])),
    /input "x" leaves dimension 2 and 3 open; .*x=1,3,SIZE,SIZE or .*\[1, 3, SIZE, SIZE\]/,
  );
  assert.match(refusal(graph(["n", 3]), { x: [1, 4] }), /\[1,4\] given for input "x" .* \[\?,3\]/);
  assert.match(refusal(graph(["n", 3]), { x: [1, 3, 1] }), /does not fit/);
  assert.match(refusal(graph(["n", 3]), { x: [8, 3] }), /give 1 in "shapes", not 8/);
  assert.match(refusal(graph(["n", 3]), { z: [1] }), /the input "z", .* its inputs are: x/);
  const text = graph(["n"]);
  text.graph.input[0] = valueInfo("x", ["n"], 8);
  assert.match(refusal(text), /input "x" is of string; requests carry/);
  text.graph.input[0] = valueInfo("x", ["n"], 7);
  assert.throws(() => planGraph(text, {}, {}, { x: 0.5 }), /"x" is of int64 .* filled with 0.5/);
  assert.equal(planGraph(text, {}, {}, { x: 16000 }).inputs[0]!.fill, 16000);
  const unshaped = graph(["n"]);
  unshaped.graph.input[0]!.type!.tensorType!.shape = null;
  assert.match(refusal(unshaped), /no declared shape/);
  assert.deepEqual(planGraph(unshaped, { x: [1, 2] }).inputs[0]!.dims, [1, 2]);
});
