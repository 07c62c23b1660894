/** Networks that the worker's benchmarks serve, with seeded weights. */
import { resnet } from "../../tools/zoo/convnets.ts";
import { GraphBuilder, int, ints, seededFill, type Value } from "../../tools/zoo/graph.ts";
import { vit } from "../../tools/zoo/transformers.ts";
import type { DeviceKind } from "../../src/worker/onnx/protocol.ts";

type OnnxFile = Uint8Array<ArrayBuffer>;

function network(name: string, build: (g: GraphBuilder) => Value): OnnxFile {
  const graph = new GraphBuilder(seededFill(1));
  const output = build(graph);
  return graph.encode(name, output, [output.channels]);
}

/** A ResNet-50 of a quarter of the width. */
function convnet(image: number): OnnxFile {
  return network("convnet", (g) =>
    resnet(g, {
      blocks: [3, 4, 6, 3],
      bottleneck: true,
      preActivation: false,
      width: 0.25,
      image,
      classes: 100,
    }));
}

/** A ViT-Tiny of fewer layers, for images of 64×64. */
function transformer(layers: number): OnnxFile {
  return network(
    "transformer",
    (g) => vit(g, { image: 64, patch: 8, layers, hidden: 192, heads: 3, classes: 100 }),
  );
}

/** Tables of which an inference reads a row each: large weights that cost little to run. */
function tables(rows: number, count: number): OnnxFile {
  return network("tables", (g) => {
    const index = g.node("Mod", [g.input("row", [1], "int64"), g.integers(rows)]);
    let sum = "";
    for (let i = 0; i < count; i++) {
      const row = g.node("Gather", [g.weight([rows, 1024], 1), index]);
      sum = sum === "" ? row : g.node("Add", [sum, row]);
    }
    const mean = g.node("ReduceMean", [sum], [int("keepdims", 0), ints("axes", [1])]);
    return { name: mean, channels: 1024 };
  });
}

/**
 * By name. One inference takes some tens of milliseconds on either kind of device: serving adds the same
 * whatever the model, and that should weigh what it weighs with models that people serve.
 */
export function benchNetworks(kind: DeviceKind): ReadonlyMap<string, OnnxFile> {
  const onCpu = kind === "wasm";
  return new Map([
    ["convnet", convnet(onCpu ? 224 : 64)],
    ["transformer", transformer(onCpu ? 8 : 2)],
    ["ten_mb", tables(2560, 1)],
    ["hundred_mb", tables(8192, 3)],
  ]);
}
