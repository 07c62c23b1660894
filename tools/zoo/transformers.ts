/** Transformer encoders: for images (ViT, DeiT) and texts (BERT). */
import { type GraphBuilder, int, type Value } from "./graph.ts";

interface EncoderOptions {
  readonly layers: number;
  /** Features of each token. */
  readonly hidden: number;
  readonly heads: number;
}

function attention(g: GraphBuilder, x: Value, heads: number): Value {
  const size = x.channels / heads;
  const part = (order: number[]) => {
    const projected = g.linear(x, x.channels);
    return g.transpose(g.reshape(projected.name, [0, 0, heads, size]), order);
  };
  const [query, key, value] = [part([0, 2, 1, 3]), part([0, 2, 3, 1]), part([0, 2, 1, 3])];
  const scores = g.node("MatMul", [query, key]);
  const scaled = g.node("Mul", [scores, g.constant(1 / Math.sqrt(size))]);
  const shares = g.node("Softmax", [scaled], [int("axis", -1)]);
  const mixed = g.transpose(g.node("MatMul", [shares, value]), [0, 2, 1, 3]);
  return g.linear({ name: g.reshape(mixed, [0, 0, x.channels]), channels: x.channels }, x.channels);
}

function gelu(g: GraphBuilder, { name, channels }: Value): Value {
  const erf = g.node("Erf", [g.node("Mul", [name, g.constant(Math.SQRT1_2)])]);
  const half = g.node("Mul", [name, g.constant(0.5)]);
  return { name: g.node("Mul", [half, g.node("Add", [erf, g.constant(1)])]), channels };
}

function feedForward(g: GraphBuilder, x: Value): Value {
  return g.linear(gelu(g, g.linear(x, 4 * x.channels)), x.channels);
}

/** The vector of the first token. */
function firstToken(g: GraphBuilder, { name, channels }: Value): Value {
  return { name: g.node("Gather", [name, g.integers(0)], [int("axis", 1)]), channels };
}

export interface VitOptions extends EncoderOptions {
  readonly image?: number;
  readonly patch: number;
  readonly classes?: number;
}

/** Dosovitskiy et al., 2020; DeiT (Touvron et al., 2020) has the same layers. */
export function vit(g: GraphBuilder, options: VitOptions): Value {
  const { image = 224, patch, layers, hidden, heads, classes = 1000 } = options;
  const patches = (image / patch) ** 2;
  const data = { name: g.input("data", [3, image, image]), channels: 3 };
  const embedded = g.conv(data, hidden, patch, { stride: patch, pad: 0 });
  const tokens = g.transpose(g.reshape(embedded.name, [0, hidden, patches]), [0, 2, 1]);
  // The class token, once for each image of the batch.
  const batch = g.node("Slice", [
    g.node("Shape", [tokens]),
    g.integers([0]),
    g.integers([1]),
  ]);
  const shape = g.node("Concat", [batch, g.integers([1, hidden])], [int("axis", 0)]);
  const classToken = g.node("Expand", [g.weight([1, 1, hidden], 0.1), shape]);
  const all = g.node("Concat", [classToken, tokens], [int("axis", 1)]);
  const positions = g.weight([1, patches + 1, hidden], 0.1);
  let x: Value = { name: g.node("Add", [all, positions]), channels: hidden };
  for (let i = 0; i < layers; i++) {
    x = g.add(x, attention(g, g.layerNorm(x), heads));
    x = g.add(x, feedForward(g, g.layerNorm(x)));
  }
  return g.dense(firstToken(g, g.layerNorm(x)), classes);
}

export interface BertOptions extends EncoderOptions {
  readonly tokens?: number;
  readonly vocabulary?: number;
  /** Longest text that it was trained for. */
  readonly maxTokens?: number;
}

/** Devlin et al., 2018, with the pooled vector of the first token as its output. */
export function bert(g: GraphBuilder, options: BertOptions): Value {
  const { layers, hidden, heads, tokens = 128, vocabulary = 30522, maxTokens = 512 } = options;
  // Whatever numbers a client sends are tokens then; those of the vocabulary stay what they are.
  const ids = g.node("Mod", [g.input("tokens", [tokens], "int64"), g.integers(vocabulary)]);
  const words = g.node("Gather", [g.weight([vocabulary, hidden], 1), ids]);
  const positions = g.node("Gather", [
    g.weight([maxTokens, hidden], 1),
    g.integers(Array.from({ length: tokens }, (_, i) => i)),
  ]);
  // One text, so that all tokens have the first of the two types.
  const type = g.node("Gather", [g.weight([2, hidden], 1), g.integers(0)]);
  const sum = g.node("Add", [g.node("Add", [words, positions]), type]);
  let x = g.layerNorm({ name: sum, channels: hidden });
  for (let i = 0; i < layers; i++) {
    x = g.layerNorm(g.add(x, attention(g, x, heads)));
    x = g.layerNorm(g.add(x, feedForward(g, x)));
  }
  return g.apply("Tanh", g.dense(firstToken(g, x), hidden));
}
