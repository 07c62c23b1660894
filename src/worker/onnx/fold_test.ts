import assert from "node:assert/strict";
import { Random } from "../../core/random.ts";
import { foldConvolutions } from "./fold.ts";
import { createSession, loadOrt } from "./ort.ts";
import { AttributeType, encodeModel, type Model } from "./proto.ts";
import { floatTensor, model, node } from "./testing.ts";

const random = new Random(7);
const spread = () => random.float() * 2 - 1;
const positive = () => random.float() + 0.1;

/** A convolution of 3 channels to 8, with what follows it. */
function conv(rest: Model["graph"]["node"], bias: boolean): Model {
  const channels = ["scale", "shift", "mean"].map((name) => floatTensor(name, [8], spread));
  return model(["n", 3, 6, 6], ["n", 8, 6, 6], [
    node("Conv", bias ? ["x", "w", "b"] : ["x", "w"], "c", [
      { name: "pads", ints: [1, 1, 1, 1], type: AttributeType.ints },
    ]),
    ...rest,
  ], [
    floatTensor("w", [8, 3, 3, 3], spread),
    ...(bias ? [floatTensor("b", [8], spread)] : []),
    ...channels,
    floatTensor("var", [8], positive),
    floatTensor("perChannel", [8, 1, 1], spread),
    floatTensor("perChannel4", [1, 8, 1, 1], spread),
    floatTensor("scalar", [], () => 0.37),
    floatTensor("plane", [8, 6, 6], spread),
  ]);
}

const norm = (input: string, output: string) =>
  node("BatchNormalization", [input, "scale", "shift", "mean", "var"], output);

async function outputBits(graph: Model): Promise<Uint8Array> {
  const ort = await loadOrt();
  const session = await createSession(ort, "wasm", encodeModel(graph));
  const input = Float32Array.from({ length: 3 * 36 }, (_, i) => Math.sin(i));
  const { y } = await session.run({ x: new ort.Tensor("float32", input, [1, 3, 6, 6]) });
  await session.release();
  return new Uint8Array(y!.data.buffer.slice(0));
}

Deno.test("folding gives the same bits as ONNX Runtime's own fusions", async () => {
  const chains: [string, Model, number][] = [
    ["normalization", conv([norm("c", "y")], false), 1],
    ["normalization with bias", conv([norm("c", "y")], true), 1],
    [
      "scale, offset, normalization",
      conv([
        node("Mul", ["c", "perChannel"], "m"),
        node("Add", ["m", "perChannel4"], "a"),
        norm("a", "y"),
      ], true),
      3,
    ],
    ["offset without bias", conv([node("Add", ["c", "perChannel"], "y")], false), 1],
    ["scalar", conv([node("Mul", ["c", "scalar"], "y")], true), 1],
  ];
  for (const [name, graph, folded] of chains) {
    const expected = await outputBits(graph);
    assert.equal(foldConvolutions(graph), folded, name);
    assert.equal(graph.graph.node.length, 1, name);
    assert.deepEqual(await outputBits(graph), expected, name);
  }
});

Deno.test("what does not belong to one convolution alone is left", () => {
  const shared = conv([norm("c", "n"), node("Add", ["c", "n"], "y")], true);
  assert.equal(foldConvolutions(shared), 0);
  const plane = conv([node("Add", ["c", "plane"], "y")], true);
  assert.equal(foldConvolutions(plane), 0);
  const visible = conv([norm("c", "y")], true);
  visible.graph.output.push({ ...visible.graph.output[0]!, name: "c" });
  assert.equal(foldConvolutions(visible), 0);
  const training = conv([norm("c", "y")], true);
  training.graph.node[1]!.attribute = [
    { name: "training_mode", i: 1, type: AttributeType.int },
  ];
  assert.equal(foldConvolutions(training), 0);
});

Deno.test("two convolutions that share weights are folded apart", () => {
  const graph = conv([norm("c", "n"), node("Conv", ["n", "w2"], "d"), norm("d", "y")], false);
  graph.graph.initializer.push(floatTensor("w2", [8, 8, 1, 1], spread));
  graph.graph.node.push(node("Conv", ["x", "w"], "other"));
  graph.graph.output.push({ ...graph.graph.output[0]!, name: "other" });
  const before = graph.graph.initializer.find((tensor) => tensor.name === "w")!.rawData!.slice();
  assert.equal(foldConvolutions(graph), 2);
  const kept = graph.graph.initializer.find((tensor) => tensor.name === "w")!;
  assert.deepEqual(kept.rawData, before);
  const names = graph.graph.initializer.map((tensor) => tensor.name);
  assert.ok(!names.includes("scale"), "unused constants are dropped");
});
