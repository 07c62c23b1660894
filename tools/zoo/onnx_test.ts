import assert from "node:assert/strict";
import { Random } from "../../src/core/random.ts";
import { ModelDirs } from "../../src/worker/model_dirs.ts";
import { decodeModel } from "../../src/worker/onnx/proto.ts";
import {
  differenceFromNative,
  randomBlob,
  TestBackend,
  writeModel,
} from "../../src/worker/onnx/testing.ts";
import { densenet, mobilenetV2, resnet, squeezenet, vgg } from "./convnets.ts";
import { GraphBuilder, noFill, seededFill, type Value } from "./graph.ts";
import { networks } from "./networks.ts";
import { buildNetwork, onnxNames } from "./onnx.ts";
import { bert, vit } from "./transformers.ts";

Deno.test("each network has exactly as many parameters as its published implementation", () => {
  const published: Record<string, number> = {
    resnet18: 11_689_512,
    resnet34: 21_797_672,
    resnet50: 25_557_032,
    resnet101: 44_549_160,
    resnet152: 60_192_808,
    mobilenet_v2: 3_504_872,
    squeezenet: 1_235_496,
    densenet121: 7_978_856,
    densenet161: 28_681_000,
    densenet169: 14_149_480,
    densenet201: 20_013_928,
    vgg11: 132_863_336,
    vgg16: 138_357_544,
    deit_tiny: 5_717_416,
    vit_b_32: 88_224_232,
    vit_b_16: 86_567_656,
    bert_base: 109_482_240,
  };
  for (const [name, parameters] of Object.entries(published)) {
    assert.equal(buildNetwork(name, noFill).parameters, parameters, name);
  }
  // The others, and what the zoo's profiles are made of, agree to the digits given there.
  for (const name of onnxNames.filter((name) => name !== "resnet50_v2")) {
    const millions = buildNetwork(name, noFill).parameters / 1e6;
    const { parameters } = networks.find((network) => network.name === name)!;
    assert.ok(Math.abs(millions - parameters) < 0.006, `${name}: ${millions} and ${parameters}`);
  }
});

interface Ort {
  Tensor: new (type: string, data: Float32Array | BigInt64Array, dims: number[]) => unknown;
  InferenceSession: {
    create(bytes: Uint8Array, options: Record<string, unknown>): Promise<{
      run(feeds: Record<string, unknown>): Promise<Record<string, OrtOutput>>;
      release(): Promise<void>;
    }>;
  };
}

interface OrtOutput {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** Outputs of a batch on the native ONNX Runtime: one array for each request. */
async function run(
  bytes: Uint8Array,
  name: string,
  requests: readonly (Float32Array | BigInt64Array)[],
  dims: number[],
): Promise<Float32Array[]> {
  const imported = await import("onnxruntime-node") as unknown as Ort & { default?: Ort };
  const ort = imported.default ?? imported;
  const options = { logSeverityLevel: 3, intraOpNumThreads: 1 };
  const session = await ort.InferenceSession.create(bytes, options);
  const size = requests[0]!.length;
  const data = requests[0] instanceof Float32Array
    ? new Float32Array(size * requests.length)
    : new BigInt64Array(size * requests.length);
  requests.forEach((request, i) => data.set(request as never, i * size));
  const type = data instanceof Float32Array ? "float32" : "int64";
  const results = await session.run({
    [name]: new ort.Tensor(type, data, [requests.length, ...dims]),
  });
  await session.release();
  const output = results["output"]!;
  assert.equal(output.dims[0], requests.length);
  const each = output.data.length / requests.length;
  return requests.map((_, i) => output.data.slice(i * each, (i + 1) * each));
}

const image = 64;
const small = { image, width: 0.25, classes: 10 };
const encoder = { layers: 2, hidden: 32, heads: 4 };
const tiny: Record<string, (g: GraphBuilder) => Value> = {
  "basic resnet": (g) =>
    resnet(g, { ...small, blocks: [1, 1, 1, 1], bottleneck: false, preActivation: false }),
  "bottleneck resnet": (g) =>
    resnet(g, { ...small, blocks: [1, 2, 1, 1], bottleneck: true, preActivation: false }),
  "resnet v2": (g) =>
    resnet(g, { ...small, blocks: [1, 2, 1, 1], bottleneck: true, preActivation: true }),
  "mobilenet": (g) => mobilenetV2(g, small),
  "squeezenet": (g) => squeezenet(g, small),
  "densenet": (g) => densenet(g, { ...small, blocks: [2, 2, 2], growth: 8, first: 16 }),
  "vgg": (g) => vgg(g, { ...small, width: 0.05, stages: [1, 1, 2, 1, 1] }),
  "vit": (g) => vit(g, { ...encoder, image, patch: 16, classes: 10 }),
  "bert": (g) => bert(g, { ...encoder, tokens: 12, vocabulary: 50, maxTokens: 20 }),
};

function encodeTiny(name: string): Uint8Array<ArrayBuffer> {
  const graph = new GraphBuilder(seededFill(1));
  const output = tiny[name]!(graph);
  return graph.encode(name, output, [output.channels]);
}

for (const name of Object.keys(tiny)) {
  Deno.test(`a tiny ${name} runs, alone and in a batch, and its output follows its input`, async () => {
    const bytes = encodeTiny(name);
    assert.deepEqual(encodeTiny(name), bytes);
    assert.equal(decodeModel(bytes).graph.output[0]!.name, "output");
    const text = name === "bert";
    const dims = text ? [12] : [3, image, image];
    const random = new Random(2);
    const requests = [0, 1, 2].map(() =>
      text
        // Any numbers at all, as a client that knows only sizes sends them.
        ? BigInt64Array.from({ length: 12 }, () => BigInt(random.uint32() - 2 ** 31) * 2n ** 31n)
        : Float32Array.from({ length: 3 * image ** 2 }, () => random.float())
    );
    const input = text ? "tokens" : "data";
    const [alone] = await run(bytes, input, requests.slice(0, 1), dims);
    const batch = await run(bytes, input, requests, dims);
    assert.ok(
      alone!.every((value) => Number.isFinite(value) && Math.abs(value) < 1000),
      `${alone}`,
    );
    const scale = Math.max(...alone!.map(Math.abs));
    const differs = (a: Float32Array, b: Float32Array) =>
      Math.max(...a.map((value, i) => Math.abs(value - b[i]!))) / scale;
    assert.ok(differs(alone!, batch[0]!) < 1e-4);
    assert.ok(differs(alone!, batch[1]!) > 1e-3, `${alone} ${batch[1]}`);
    assert.ok(new Set(alone).size > 5);
  });
}

Deno.test("a worker gives what the native ONNX Runtime gives, alone and in a batch", async () => {
  const directory = Deno.makeTempDirSync();
  for (const name of Object.keys(tiny)) writeModel(directory, name, encodeTiny(name));
  const backend = await TestBackend.open({ device: "wasm", modelDirs: ModelDirs.only(directory) });
  try {
    for (const name of Object.keys(tiny)) {
      const loaded = await backend.load(name, 2);
      assert.deepEqual(loaded.batchSizes, [1, 2], name);
      await backend.loadWeights(loaded, 1);
      for (const size of loaded.batchSizes) {
        const inputs = Array.from({ length: size }, (_, i) => randomBlob(loaded, i));
        const { outputs } = await backend.infer(loaded, 1, size, inputs);
        const difference = await differenceFromNative(loaded, inputs, outputs);
        assert.ok(difference < 1e-3, `${name}, batch ${size}: ${difference}`);
      }
    }
  } finally {
    backend.close();
    Deno.removeSync(directory, { recursive: true });
  }
});
