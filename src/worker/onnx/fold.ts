/**
 * Folds what follows a convolution (batch normalization, a multiplication or addition of one constant
 * per channel) into its weights.
 *
 * ONNX Runtime does this itself, but only when the weights are constants, which hoisted ones are no
 * longer. To give the same bits it is done here in the same order with the same float32 steps
 * (`ConvBNFusion`, `ConvMulFusion` and `ConvAddFusion` of its basic level). Whether it did is checked
 * on the device when a model is loaded.
 */
import { floatBytes } from "./data_types.ts";
import { constantsOf, isStandard, Uses } from "./graph.ts";
import { dimsOf, findAttribute, type Model, type Node, type Tensor } from "./proto.ts";

const FLOAT32 = 1;
const f = Math.fround;

function floats(tensor: Tensor | undefined): Float32Array | undefined {
  if (tensor === undefined || tensor.dataType !== FLOAT32) return undefined;
  const bytes = floatBytes(tensor);
  // A copy: the file's bytes need not be aligned, and must stay as they are.
  return bytes === undefined ? undefined : new Float32Array(new Uint8Array(bytes).buffer);
}

/** The weights of one convolution while they change. `bias` is null as long as there is none. */
interface Weights {
  readonly w: Float32Array;
  bias: Float32Array | null;
  readonly channels: number;
  readonly rank: number;
}

function scaleChannels(w: Float32Array, scale: Float32Array, channels: number): void {
  const size = w.length / channels;
  for (let c = 0; c < channels; c++) {
    const factor = scale[scale.length === 1 ? 0 : c]!;
    for (let i = c * size; i < (c + 1) * size; i++) w[i] = w[i]! * factor;
  }
}

/** Whether a constant broadcasts as one value per channel: [C,1,1] or [1,C,1,1] for images. */
function isPerChannel(dims: readonly number[], weights: Weights): boolean {
  const axis = dims.length === weights.rank ? 1 : dims.length === weights.rank - 1 ? 0 : -1;
  return axis >= 0 && dims.every((dim, i) => dim === (i === axis ? weights.channels : 1));
}

function foldBatchNorm(
  weights: Weights,
  node: Node,
  constants: ReadonlyMap<string, Tensor>,
): boolean {
  const [scale, shift, mean, variance] = node.input.slice(1).map((n) => floats(constants.get(n)));
  if (!scale || !shift || !mean || !variance) return false;
  if (Number(findAttribute(node, "training_mode")?.i ?? 0) !== 0) return false;
  if (node.output.slice(1).some((name) => name !== "")) return false;
  const { channels } = weights;
  if ([scale, shift, mean, variance].some((values) => values.length !== channels)) return false;
  const epsilon = f(findAttribute(node, "epsilon")?.f ?? 1e-5);
  for (let c = 0; c < channels; c++) {
    scale[c] = scale[c]! / f(Math.sqrt(f(variance[c]! + epsilon)));
  }
  scaleChannels(weights.w, scale, channels);
  const bias = weights.bias;
  for (let c = 0; c < channels; c++) {
    shift[c] = bias === null
      ? shift[c]! - f(mean[c]! * scale[c]!)
      : f(f(bias[c]! - mean[c]!) * scale[c]!) + shift[c]!;
  }
  weights.bias = shift;
  return true;
}

function foldMul(weights: Weights, tensor: Tensor | undefined): boolean {
  const factor = floats(tensor);
  if (tensor === undefined || factor === undefined) return false;
  const dims = dimsOf(tensor);
  if (dims.length !== 0 && !isPerChannel(dims, weights)) return false;
  scaleChannels(weights.w, factor, weights.channels);
  if (weights.bias !== null) scaleChannels(weights.bias, factor, weights.channels);
  return true;
}

function foldAdd(weights: Weights, tensor: Tensor | undefined): boolean {
  const addend = floats(tensor);
  if (tensor === undefined || addend === undefined) return false;
  if (!isPerChannel(dimsOf(tensor), weights)) return false;
  const bias = weights.bias;
  weights.bias = bias === null ? addend : bias.map((value, c) => value + addend[c]!);
  return true;
}

function foldInto(
  weights: Weights,
  node: Node,
  constants: ReadonlyMap<string, Tensor>,
): boolean {
  if (!isStandard(node)) return false;
  switch (node.opType) {
    case "BatchNormalization":
      return foldBatchNorm(weights, node, constants);
    case "Mul":
      return foldMul(weights, constants.get(node.input[1] ?? ""));
    case "Add":
      return foldAdd(weights, constants.get(node.input[1] ?? ""));
    default:
      return false;
  }
}

/** Takes away the initializers that nothing uses any more. */
function dropUnused(model: Model): void {
  const { graph } = model;
  const uses = new Uses(graph);
  const unused = new Set<string>();
  graph.initializer = graph.initializer.filter(({ name }) => {
    const used = name === undefined || uses.of(name).length > 0 || uses.isPinned(name);
    if (!used) unused.add(name);
    return used;
  });
  // Before IR version 4 an initializer is declared as an input too.
  graph.input = graph.input.filter((input) => !unused.has(input.name));
}

/** Changes `model` in place; returns how many nodes were folded away. */
export function foldConvolutions(model: Model): number {
  const { graph } = model;
  const constants = constantsOf(model);
  const uses = new Uses(graph);
  const gone = new Set<Node>();
  for (const conv of graph.node) {
    if (conv.opType !== "Conv" || !isStandard(conv)) continue;
    const tensor = constants.get(conv.input[1] ?? "");
    const w = floats(tensor);
    if (tensor === undefined || w === undefined) continue;
    const biasName = conv.input[2] ?? "";
    const bias = biasName === "" ? null : floats(constants.get(biasName));
    if (bias === undefined) continue;
    const dims = dimsOf(tensor);
    const weights: Weights = { w, bias, channels: dims[0] ?? 0, rank: dims.length };

    let folded = false;
    for (;;) {
      const output = conv.output[0]!;
      const next = uses.of(output).length === 1 ? uses.of(output)[0]! : undefined;
      if (next === undefined || next.index !== 0 || uses.isPinned(output)) break;
      if (!foldInto(weights, next.node, constants)) break;
      gone.add(next.node);
      conv.output[0] = next.node.output[0]!;
      folded = true;
    }
    if (!folded) continue;
    // New names: other nodes may share the old tensors.
    const name = `clockwork.folded.${conv.output[0]}`;
    graph.initializer.push({
      name: `${name}.w`,
      dims,
      dataType: FLOAT32,
      rawData: new Uint8Array(w.buffer),
    });
    conv.input = [conv.input[0]!, `${name}.w`];
    if (weights.bias !== null) {
      graph.initializer.push({
        name: `${name}.b`,
        dims: [weights.channels],
        dataType: FLOAT32,
        rawData: new Uint8Array(weights.bias.buffer),
      });
      conv.input.push(`${name}.b`);
    }
  }
  graph.node = graph.node.filter((node) => !gone.has(node));
  if (gone.size > 0) dropUnused(model);
  return gone.size;
}
