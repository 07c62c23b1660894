/**
 * Published facts about well-known networks. Parameters (in millions) and multiply-adds of one inference
 * (in billions) are those of the usual implementations, torchvision's where it has the network; layers are
 * those on the longest path that have weights, counted or closely estimated.
 */

/** How well a network's multiply-adds use a GPU: see profile.ts. */
export type Family = "convolution" | "large-convolution" | "grouped" | "depthwise" | "matrix";

export interface Network {
  readonly name: string;
  readonly family: Family;
  /** Millions. */
  readonly parameters: number;
  /** Billions of multiply-adds. */
  readonly macs: number;
  readonly layers: number;
  /** Pixels a side of the image, or tokens of the text. */
  readonly input: number;
  /** For texts: numbers that come out. Images are classified into 1000. */
  readonly hidden?: number;
}

type Row = readonly [
  name: string,
  parameters: number,
  macs: number,
  layers: number,
  input?: number,
];

function images(family: Family, rows: readonly Row[]): Network[] {
  return rows.map(([name, parameters, macs, layers, input = 224]) => ({
    name,
    family,
    parameters,
    macs,
    layers,
    input,
  }));
}

/** Encoders for texts of 128 tokens. */
function texts(rows: readonly (readonly [...Row, hidden: number])[]): Network[] {
  return rows.map(([name, parameters, macs, layers, input = 128, hidden]) => ({
    name,
    family: "matrix",
    parameters,
    macs,
    layers,
    input,
    hidden,
  }));
}

/** All but resnet50_v2, whose figures are measured ones. */
export const networks: readonly Network[] = [
  ...images("convolution", [
    ["alexnet", 61.10, 0.71, 8],
    ["resnet18", 11.69, 1.81, 18],
    ["resnet34", 21.80, 3.66, 34],
    ["resnet50", 25.56, 4.09, 50],
    ["resnet101", 44.55, 7.80, 101],
    ["resnet152", 60.19, 11.51, 152],
    ["resnet18_v2", 11.69, 1.81, 18],
    ["resnet34_v2", 21.80, 3.66, 34],
    ["resnet101_v2", 44.54, 7.80, 101],
    ["resnet152_v2", 60.19, 11.51, 152],
    ["wide_resnet50_2", 68.88, 11.40, 50],
    ["wide_resnet101_2", 126.89, 22.75, 101],
    ["densenet121", 7.98, 2.83, 121],
    ["densenet161", 28.68, 7.73, 161],
    ["densenet169", 14.15, 3.36, 169],
    ["densenet201", 20.01, 4.29, 201],
    ["squeezenet", 1.24, 0.35, 18],
    ["googlenet", 6.62, 1.50, 22],
    ["inception_v3", 27.16, 5.71, 48, 299],
  ]),
  ...images("large-convolution", [
    ["vgg11", 132.86, 7.61, 11],
    ["vgg13", 133.05, 11.31, 13],
    ["vgg16", 138.36, 15.47, 16],
    ["vgg19", 143.67, 19.63, 19],
  ]),
  ...images("grouped", [
    ["resnext50_32x4d", 25.03, 4.23, 50],
    ["resnext101_32x8d", 88.79, 16.41, 101],
    ["resnext101_64x4d", 83.46, 15.46, 101],
    ["regnet_x_400mf", 5.50, 0.41, 67],
    ["regnet_x_1_6gf", 9.19, 1.60, 55],
    ["regnet_x_3_2gf", 15.30, 3.18, 76],
    ["regnet_y_400mf", 4.34, 0.40, 82],
    ["regnet_y_1_6gf", 11.20, 1.61, 137],
    ["regnet_y_3_2gf", 19.44, 3.18, 107],
    ["convnext_tiny", 28.59, 4.46, 59],
    ["convnext_small", 50.22, 8.68, 113],
    ["convnext_base", 88.59, 15.36, 113],
  ]),
  ...images("depthwise", [
    ["mobilenet_v1", 4.23, 0.57, 28],
    ["mobilenet_v2", 3.50, 0.30, 53],
    ["mobilenet_v3_small", 2.54, 0.06, 54],
    ["mobilenet_v3_large", 5.48, 0.22, 63],
    ["mnasnet0_5", 2.22, 0.10, 53],
    ["mnasnet1_0", 4.38, 0.31, 53],
    ["shufflenet_v2_x0_5", 1.37, 0.04, 56],
    ["shufflenet_v2_x1_0", 2.28, 0.14, 56],
    ["shufflenet_v2_x2_0", 7.39, 0.58, 56],
    ["efficientnet_b0", 5.29, 0.39, 81],
    ["efficientnet_b1", 7.79, 0.69, 115, 240],
    ["efficientnet_b2", 9.11, 1.09, 115, 288],
    ["efficientnet_b3", 12.23, 1.83, 130, 300],
    ["efficientnet_b4", 19.34, 4.39, 160, 380],
  ]),
  ...images("matrix", [
    ["deit_tiny", 5.72, 1.26, 50],
    ["deit_small", 22.05, 4.61, 50],
    ["vit_b_32", 88.22, 4.41, 50],
    ["vit_b_16", 86.57, 17.56, 50],
    ["swin_t", 28.29, 4.49, 53],
    ["swin_s", 49.61, 8.74, 101],
  ]),
  ...texts([
    ["bert_mini", 11.17, 0.44, 17, 128, 256],
    ["bert_base", 109.48, 11.17, 49, 128, 768],
    ["bert_large", 335.14, 39.46, 97, 128, 1024],
    ["distilbert", 66.36, 5.59, 24, 128, 768],
    ["roberta_base", 124.65, 11.17, 49, 128, 768],
  ]),
];
