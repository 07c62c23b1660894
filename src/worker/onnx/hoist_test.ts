import assert from "node:assert/strict";
import { hoist } from "./hoist.ts";
import { AttributeType, decodeModel, encodeModel, type Model, type Node } from "./proto.ts";
import { floatTensor, model, node, valueInfo } from "./testing.ts";

const SHAPES = new Map([["x", ["batch", 32]]]);

function dense(): Model {
  return model(["n", 32], ["n", 16], [
    node("MatMul", ["x", "w"], "m"),
    node("Add", ["m", "b"], "y"),
  ], [
    floatTensor("w", [32, 16], (i) => i / 100),
    floatTensor("b", [16], (i) => i),
  ]);
}

function hoistedNames(changed: Model): string[] {
  return hoist(encodeModel(changed), SHAPES).weights.map((weight) => weight.name);
}

Deno.test("large weights become graph inputs and small ones stay", () => {
  const file = encodeModel(dense());
  const { bytes, weights, weightsBytes } = hoist(file, SHAPES);
  assert.deepEqual(weights.map(({ name, dtype, dims }) => ({ name, dtype, dims })), [
    { name: "w", dtype: "float32", dims: [32, 16] },
  ]);
  assert.equal(weightsBytes, 2048);
  assert.equal(weights[0]!.data.buffer, file.buffer, "the weights are not copied");
  const { graph } = decodeModel(bytes);
  assert.deepEqual(graph.initializer.map((tensor) => tensor.name), ["b"]);
  assert.deepEqual(graph.input.map((input) => input.name), ["x", "w"]);
  assert.equal(graph.input[0]!.type!.tensorType!.shape!.dim[0]!.dimParam, "batch");
  assert.ok(bytes.length < 500, `${bytes.length}`);
});

Deno.test("weights written as Constant nodes are hoisted like initializers", () => {
  const changed = dense();
  const value = changed.graph.initializer.shift()!;
  changed.graph.node.unshift(
    node("Constant", [], "w", [{ name: "value", t: value, type: AttributeType.tensor }]),
  );
  assert.deepEqual(hoistedNames(changed), ["w"]);
});

Deno.test("weights that a kernel wants as constants stay", () => {
  const changed = dense();
  changed.graph.node.push({ ...node("Clip", ["w", "lo"], "c"), domain: "" });
  changed.graph.initializer.push(floatTensor("lo", [], () => 0));
  assert.deepEqual(hoistedNames(changed), []);
});

Deno.test("an operator of another domain by the same name is not trusted with an input", () => {
  const changed = dense();
  changed.graph.node[0]!.domain = "com.example";
  assert.deepEqual(hoistedNames(changed), []);
});

Deno.test("what is computed from constants alone stays for ONNX Runtime to compute once", () => {
  const changed = dense();
  changed.graph.node.unshift(node("Mul", ["w0", "w1"], "w"));
  changed.graph.initializer = ["w0", "w1"].map((name) => floatTensor(name, [32, 16], (i) => i));
  changed.graph.initializer.push(floatTensor("b", [16], () => 0));
  assert.deepEqual(hoistedNames(changed), []);
});

Deno.test("weights that a subgraph or the caller sees stay", () => {
  const branch: Node = node("If", ["cond"], "z", [{
    name: "then_branch",
    g: {
      name: "then",
      node: [node("Identity", ["w"], "t")],
      initializer: [],
      input: [],
      output: [valueInfo("t", [32, 16])],
    },
  }]);
  const inSubgraph = dense();
  inSubgraph.graph.node.push(branch);
  assert.deepEqual(hoistedNames(inSubgraph), []);
  const asOutput = dense();
  asOutput.graph.output.push(valueInfo("w", [32, 16]));
  assert.deepEqual(hoistedNames(asOutput), []);
});

Deno.test("old files, whose initializers are inputs too, keep no weight as an input by default", () => {
  const changed = dense();
  changed.irVersion = 3;
  changed.graph.input.push(valueInfo("w", [32, 16]), valueInfo("b", [16]));
  const { bytes, weights } = hoist(encodeModel(changed), SHAPES);
  assert.deepEqual(weights.map((weight) => weight.name), ["w"]);
  const { graph, irVersion } = decodeModel(bytes);
  assert.equal(Number(irVersion), 4);
  assert.deepEqual(graph.input.map((input) => input.name), ["x", "w"]);
});

Deno.test("a file that is not ONNX is told apart", () => {
  for (const bytes of [new Uint8Array(), new TextEncoder().encode("hello world")]) {
    assert.throws(() => hoist(bytes, SHAPES), /^NotOnnxError: not an ONNX file/);
  }
  const whole = encodeModel(dense());
  assert.throws(() => hoist(whole.subarray(0, whole.length - 40), SHAPES), /not an ONNX file/);
});
