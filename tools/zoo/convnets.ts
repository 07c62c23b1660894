/** Convolutional networks, as published. `width` scales channels, for small ones in tests. */
import { type GraphBuilder, int, type Value } from "./graph.ts";

export interface ImageOptions {
  /** Pixels a side. */
  readonly image?: number;
  readonly classes?: number;
  /** Factor of all channels within. */
  readonly width?: number;
}

function start(g: GraphBuilder, { image = 224 }: ImageOptions): Value {
  return { name: g.input("data", [3, image, image]), channels: 3 };
}

function relu(g: GraphBuilder, x: Value): Value {
  return g.apply("Relu", x);
}

function concat(g: GraphBuilder, values: readonly Value[]): Value {
  return {
    name: g.node("Concat", values.map(({ name }) => name), [int("axis", 1)]),
    channels: values.reduce((sum, { channels }) => sum + channels, 0),
  };
}

/** How much of a residual branch is added: more would grow from block to block. */
const BRANCH = 0.4;

export interface ResNetOptions extends ImageOptions {
  /** Blocks of each of the four stages. */
  readonly blocks: readonly number[];
  /** Three convolutions a block, the outer ones 1×1, instead of two. */
  readonly bottleneck: boolean;
  /** Normalization and activation before each convolution instead of after. */
  readonly preActivation: boolean;
}

/** He et al., 2015; version 2 (pre-activation) 2016. */
export function resnet(g: GraphBuilder, options: ResNetOptions): Value {
  const { blocks, bottleneck, preActivation, width = 1, classes = 1000 } = options;
  const first = Math.round(64 * width);
  let x = g.conv(start(g, options), first, 7, { stride: 2, bias: false });
  x = relu(g, g.batchNorm(x));
  x = g.pool("MaxPool", x, 3, 2, 1);
  for (const [stage, count] of blocks.entries()) {
    for (let i = 0; i < count; i++) {
      const stride = i === 0 && stage > 0 ? 2 : 1;
      x = (preActivation ? blockV2 : blockV1)(g, x, first * 2 ** stage, stride, bottleneck);
    }
  }
  if (preActivation) x = relu(g, g.batchNorm(x));
  return g.dense(g.globalPool(x), classes);
}

function blockV1(
  g: GraphBuilder,
  x: Value,
  inner: number,
  stride: number,
  bottleneck: boolean,
): Value {
  const outer = bottleneck ? inner * 4 : inner;
  const step = (y: Value, channels: number, kernel: number, s: number, scale: number) =>
    g.batchNorm(g.conv(y, channels, kernel, { stride: s, bias: false }), scale);
  let y = bottleneck ? relu(g, step(x, inner, 1, 1, 1)) : x;
  y = relu(g, step(y, inner, 3, stride, 1));
  y = step(y, outer, bottleneck ? 1 : 3, 1, BRANCH);
  const same = stride === 1 && x.channels === outer;
  return relu(g, g.add(y, same ? x : step(x, outer, 1, stride, 1)));
}

function blockV2(
  g: GraphBuilder,
  x: Value,
  inner: number,
  stride: number,
  bottleneck: boolean,
): Value {
  const outer = bottleneck ? inner * 4 : inner;
  const step = (y: Value, channels: number, kernel: number, s: number, scale = 1) =>
    g.conv(relu(g, g.batchNorm(y, scale)), channels, kernel, { stride: s, bias: false });
  const ready = relu(g, g.batchNorm(x));
  let y = g.conv(ready, inner, bottleneck ? 1 : 3, {
    stride: bottleneck ? 1 : stride,
    bias: false,
  });
  if (bottleneck) y = step(y, inner, 3, stride);
  y = step(y, outer, bottleneck ? 1 : 3, 1, BRANCH);
  const same = stride === 1 && x.channels === outer;
  return g.add(y, same ? x : g.conv(ready, outer, 1, { stride, bias: false }));
}

/** Sandler et al., 2018: expansion, channels, blocks, stride of each stage. */
const MOBILENET_V2 = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

export function mobilenetV2(g: GraphBuilder, options: ImageOptions): Value {
  const { width = 1, classes = 1000 } = options;
  const scaled = (channels: number) => Math.max(4, Math.round(channels * width));
  const [zero, six] = [g.constant(0), g.constant(6)];
  const step = (x: Value, channels: number, kernel: number, stride: number, groups = 1): Value => {
    const y = g.batchNorm(g.conv(x, channels, kernel, { stride, groups, bias: false }));
    return { ...y, name: g.node("Clip", [y.name, zero, six]) };
  };
  let x = step(start(g, options), scaled(32), 3, 2);
  for (const [expansion, channels, blocks, firstStride] of MOBILENET_V2) {
    for (let i = 0; i < blocks; i++) {
      const stride = i === 0 ? firstStride : 1;
      const inner = x.channels * expansion;
      let y = expansion === 1 ? x : step(x, inner, 1, 1);
      y = step(y, inner, 3, stride, inner);
      const same = stride === 1 && x.channels === scaled(channels);
      y = g.batchNorm(g.conv(y, scaled(channels), 1, { bias: false }), same ? BRANCH : 1);
      x = same ? g.add(x, y) : y;
    }
  }
  return g.dense(g.globalPool(step(x, scaled(1280), 1, 1)), classes);
}

/** Iandola et al., 2016, version 1.1: squeezed and expanded channels; 0 for a pooling. */
const SQUEEZENET = [0, 16, 16, 0, 32, 32, 0, 48, 48, 64, 64] as const;

export function squeezenet(g: GraphBuilder, options: ImageOptions): Value {
  const { width = 1, classes = 1000 } = options;
  let x = relu(g, g.conv(start(g, options), Math.round(64 * width), 3, { stride: 2, pad: 0 }));
  for (const channels of SQUEEZENET) {
    if (channels === 0) {
      x = g.pool("MaxPool", x, 3, 2);
      continue;
    }
    const squeezed = Math.round(channels * width);
    const y = relu(g, g.conv(x, squeezed, 1));
    const one = relu(g, g.conv(y, 4 * squeezed, 1));
    const three = relu(g, g.conv(y, 4 * squeezed, 3));
    x = concat(g, [one, three]);
  }
  return g.globalPool(relu(g, g.conv(x, classes, 1)));
}

export interface DenseNetOptions extends ImageOptions {
  /** Layers of each dense block. */
  readonly blocks: readonly number[];
  /** Channels that each layer adds. */
  readonly growth: number;
  readonly first: number;
}

/** Huang et al., 2016. */
export function densenet(g: GraphBuilder, options: DenseNetOptions): Value {
  const { blocks, growth, first, classes = 1000 } = options;
  const before = (x: Value) => relu(g, g.batchNorm(x));
  let x = g.conv(start(g, options), first, 7, { stride: 2, bias: false });
  x = g.pool("MaxPool", before(x), 3, 2, 1);
  for (const [block, layers] of blocks.entries()) {
    if (block > 0) {
      x = g.conv(before(x), x.channels / 2, 1, { bias: false });
      x = g.pool("AveragePool", x, 2, 2);
    }
    for (let i = 0; i < layers; i++) {
      const y = g.conv(before(x), 4 * growth, 1, { bias: false });
      x = concat(g, [x, g.conv(before(y), growth, 3, { bias: false })]);
    }
  }
  return g.dense(g.globalPool(before(x)), classes);
}

export interface VggOptions extends ImageOptions {
  /** Convolutions of each of the five stages. */
  readonly stages: readonly number[];
}

/** Simonyan and Zisserman, 2014. */
export function vgg(g: GraphBuilder, options: VggOptions): Value {
  const { stages, image = 224, width = 1, classes = 1000 } = options;
  let x = start(g, options);
  for (const [stage, convolutions] of stages.entries()) {
    const channels = Math.round(Math.min(64 * 2 ** stage, 512) * width);
    for (let i = 0; i < convolutions; i++) x = relu(g, g.conv(x, channels, 3));
    x = g.pool("MaxPool", x, 2, 2);
  }
  const inner = Math.round(4096 * width);
  const flat = g.apply("Flatten", x);
  const one = relu(g, g.dense(flat, inner, x.channels * (image / 32) ** 2));
  return g.dense(relu(g, g.dense(one, inner)), classes);
}
