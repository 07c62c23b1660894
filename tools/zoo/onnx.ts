/** The networks that can be written as ONNX files. */
import { densenet, mobilenetV2, resnet, squeezenet, vgg } from "./convnets.ts";
import { type Fill, GraphBuilder, type Value } from "./graph.ts";
import { bert, vit } from "./transformers.ts";

type Build = (g: GraphBuilder) => Value;

const basic = { bottleneck: false, preActivation: false };
const bottleneck = { bottleneck: true, preActivation: false };
const preActivation = true;

const architectures: Readonly<Record<string, Build>> = {
  resnet18: (g) => resnet(g, { ...basic, blocks: [2, 2, 2, 2] }),
  resnet34: (g) => resnet(g, { ...basic, blocks: [3, 4, 6, 3] }),
  resnet50: (g) => resnet(g, { ...bottleneck, blocks: [3, 4, 6, 3] }),
  resnet101: (g) => resnet(g, { ...bottleneck, blocks: [3, 4, 23, 3] }),
  resnet152: (g) => resnet(g, { ...bottleneck, blocks: [3, 8, 36, 3] }),
  resnet18_v2: (g) => resnet(g, { ...basic, preActivation, blocks: [2, 2, 2, 2] }),
  resnet34_v2: (g) => resnet(g, { ...basic, preActivation, blocks: [3, 4, 6, 3] }),
  resnet50_v2: (g) => resnet(g, { ...bottleneck, preActivation, blocks: [3, 4, 6, 3] }),
  resnet101_v2: (g) => resnet(g, { ...bottleneck, preActivation, blocks: [3, 4, 23, 3] }),
  resnet152_v2: (g) => resnet(g, { ...bottleneck, preActivation, blocks: [3, 8, 36, 3] }),
  mobilenet_v2: (g) => mobilenetV2(g, {}),
  squeezenet: (g) => squeezenet(g, {}),
  densenet121: (g) => densenet(g, { blocks: [6, 12, 24, 16], growth: 32, first: 64 }),
  densenet161: (g) => densenet(g, { blocks: [6, 12, 36, 24], growth: 48, first: 96 }),
  densenet169: (g) => densenet(g, { blocks: [6, 12, 32, 32], growth: 32, first: 64 }),
  densenet201: (g) => densenet(g, { blocks: [6, 12, 48, 32], growth: 32, first: 64 }),
  vgg11: (g) => vgg(g, { stages: [1, 1, 2, 2, 2] }),
  vgg13: (g) => vgg(g, { stages: [2, 2, 2, 2, 2] }),
  vgg16: (g) => vgg(g, { stages: [2, 2, 3, 3, 3] }),
  vgg19: (g) => vgg(g, { stages: [2, 2, 4, 4, 4] }),
  deit_tiny: (g) => vit(g, { patch: 16, layers: 12, hidden: 192, heads: 3 }),
  deit_small: (g) => vit(g, { patch: 16, layers: 12, hidden: 384, heads: 6 }),
  vit_b_32: (g) => vit(g, { patch: 32, layers: 12, hidden: 768, heads: 12 }),
  vit_b_16: (g) => vit(g, { patch: 16, layers: 12, hidden: 768, heads: 12 }),
  bert_mini: (g) => bert(g, { layers: 4, hidden: 256, heads: 4 }),
  bert_base: (g) => bert(g, { layers: 12, hidden: 768, heads: 12 }),
};

/** Names of the networks that there are. */
export const onnxNames: readonly string[] = Object.keys(architectures);

/** Builds a network; `parameters` is the number of its trained values. */
export function buildNetwork(
  name: string,
  fill: Fill,
): { parameters: number; encode: () => Uint8Array<ArrayBuffer> } {
  const build = architectures[name];
  if (build === undefined) throw new RangeError(`unknown network ${name}`);
  const graph = new GraphBuilder(fill);
  const output = build(graph);
  return {
    parameters: graph.parameters,
    encode: () => graph.encode(name, output, [output.channels]),
  };
}
