/**
 * Times of a network on the V100 on which resnet50_v2 was measured, modelled from what is published.
 *
 *     exec(b) = launches + macs / resnet50_v2's macs × (its exec(b) − its launches) / efficiency
 *     launches = layers × 8 µs
 *     load = weights / 14.0 GB/s, which is resnet50_v2's rate
 *
 * So resnet50_v2 itself would get exactly its measured times, a network of many layers and little
 * arithmetic is bound by its launches and gains most from batches, and a large one approaches the
 * growth with the batch that resnet50_v2 shows. `efficiency` stands for how well a kind of layer uses
 * the GPU compared with resnet50_v2's convolutions; no network comes near the GPU's 15.7 TFLOPS.
 * These are plausible times to schedule with, not measurements.
 */
import type { Family, Network } from "./networks.ts";

/** Measured; as in config/modelzoo/resnet50_v2. */
export const REFERENCE = {
  macs: 4.1,
  layers: 50,
  weightsBytes: 117_440_512,
  loadNs: 8_400_000,
  execNs: { 1: 3_300_000, 2: 5_300_000, 4: 7_500_000, 8: 12_400_000, 16: 17_300_000 },
} as const;

/** Starting one layer's kernels. */
const LAUNCH_NS = 8_000;

const EFFICIENCY: Readonly<Record<Family, number>> = {
  "convolution": 1,
  // Few layers of many channels.
  "large-convolution": 1.4,
  // Many small convolutions in one.
  "grouped": 0.6,
  // Bound by memory rather than arithmetic.
  "depthwise": 0.25,
  "matrix": 1.4,
};

const BATCH_SIZES = [1, 2, 4, 8, 16] as const;

/** In nanoseconds, rounded to microseconds. */
export function execNs(network: Network, batchSize: typeof BATCH_SIZES[number]): number {
  const { macs, layers, family } = network;
  const arithmeticNs = REFERENCE.execNs[batchSize] - REFERENCE.layers * LAUNCH_NS;
  const ns = layers * LAUNCH_NS + macs / REFERENCE.macs * arithmeticNs / EFFICIENCY[family];
  return Math.round(ns / 1000) * 1000;
}

/** What `model.json` says of a network. */
export function modelJson(network: Network): Record<string, unknown> {
  const weightsBytes = Math.round(network.parameters * 1e6) * 4;
  const loadNs = weightsBytes * REFERENCE.loadNs / REFERENCE.weightsBytes;
  return {
    source: `Published: ${network.parameters} M parameters, ${network.macs} G multiply-adds. ` +
      "Times modelled from these, see tools/zoo/profile.ts",
    modelled: true,
    ...tensors(network),
    weights_bytes: weightsBytes,
    batch_sizes: BATCH_SIZES,
    profiles: {
      v100: {
        weights_load_ns: Math.round(loadNs / 1000) * 1000,
        exec_ns: Object.fromEntries(BATCH_SIZES.map((size) => [size, execNs(network, size)])),
      },
    },
  };
}

function tensors({ input, hidden }: Network): Record<"inputs" | "outputs", unknown[]> {
  const tensor = (name: string, dtype: string, ...dims: number[]) => [
    { name, dtype, shape: ["batch", ...dims] },
  ];
  return hidden === undefined
    ? {
      inputs: tensor("data", "float32", 3, input, input),
      outputs: tensor("output", "float32", 1000),
    }
    : {
      inputs: tensor("tokens", "int64", input),
      outputs: tensor("output", "float32", hidden),
    };
}
