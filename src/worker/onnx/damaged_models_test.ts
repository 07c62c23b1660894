/** Files that are not what they should be: each is refused with a reason, and the worker goes on. */
import assert from "node:assert/strict";
import { ModelDirs } from "../model_dirs.ts";
import { generateModels } from "../../../testdata/generate.ts";
import { Random } from "../../core/random.ts";
import { SECOND } from "../../core/clock.ts";
import { decodeModel, encodeModel, type Model } from "./proto.ts";
import { floatTensor, model, node, TestBackend, writeModel } from "./testing.ts";

/** As must be shown: each file is answered within this time. */
const LIMIT_NS = 5 * SECOND;

type Damage = (bytes: Uint8Array<ArrayBuffer>, random: Random) => Uint8Array<ArrayBuffer>;

/** Damages the model rather than its bytes. */
function changed(change: (model: Model, random: Random) => void): Damage {
  return (bytes, random) => {
    const decoded = decodeModel(bytes);
    change(decoded, random);
    return encodeModel(decoded);
  };
}

function pick<T>(list: readonly T[], random: Random): T {
  return list[random.below(list.length)]!;
}

const DAMAGES: Readonly<Record<string, Damage>> = {
  truncated: (bytes, random) => bytes.slice(0, random.below(bytes.length)),
  flipped: (bytes, random) => {
    const copy = bytes.slice();
    // In the first part, where names and shapes are; a bit of a weight changes only a number.
    for (let i = 0; i < 8; i++) {
      copy[random.below(Math.min(600, copy.length))]! ^= 1 << random.below(8);
    }
    return copy;
  },
  "weight of another type": changed(({ graph }, random) => {
    pick(graph.initializer, random).dataType = 1 + random.below(20);
  }),
  "input of another type": changed(({ graph }, random) => {
    pick(graph.input, random).type!.tensorType!.elemType = 2 + random.below(18);
  }),
  cyclic: changed(({ graph }, random) => {
    const first = pick(graph.node, random);
    first.input[0] = graph.node.at(-1)!.output[0]!;
  }),
  "huge weight": changed(({ graph }, random) => {
    pick(graph.initializer, random).dims = [2 ** (10 + random.below(40)), 2 ** random.below(31)];
  }),
  "huge input": changed(({ graph }, random) => {
    const { dim } = pick(graph.input, random).type!.tensorType!.shape!;
    dim[random.below(dim.length)] = { dimValue: 2 ** (20 + random.below(30)) };
  }),
  "node without its inputs": changed(({ graph }, random) => {
    pick(graph.node, random).input = ["nothing"];
  }),
  "another operator": changed(({ graph }, random) => {
    pick(graph.node, random).opType = pick(["Loop", "Reshape", "LSTM", "Bogus", "Gather"], random);
  }),
  "no operator set": changed((decoded) => {
    decoded.opsetImport = [{ domain: "", version: 9999 }];
  }),
};

Deno.test("200 damaged files are answered in time, and the worker serves what is whole", async () => {
  const directory = Deno.makeTempDirSync();
  const backend = await TestBackend.open({
    device: "wasm",
    modelDirs: ModelDirs.only(directory),
    timeouts: { loadNs: LIMIT_NS },
  });
  try {
    const whole = [...generateModels()].filter(([path]) => !path.startsWith("residual"));
    writeModel(directory, "whole", whole[0]![1]);
    const served = await backend.load("whole", 1);
    await backend.loadWeights(served, 1);
    const expected = (await backend.infer(served, 1, 1, null)).outputs;
    const random = new Random(6);
    const damages = Object.entries(DAMAGES);
    let refused = 0;
    for (let i = 0; i < 200; i++) {
      const [kind, damage] = damages[i % damages.length]!;
      const [, bytes] = pick(whole, random);
      writeModel(directory, "damaged", damage(bytes, random));
      const beginNs = backend.clock.now();
      const message = await backend.load("damaged", 1).then(
        // Some damage leaves another model that works.
        (loaded) => {
          backend.backend.unloadModel(loaded);
          return null;
        },
        (error: Error) => error.message,
      );
      const tookNs = backend.clock.now() - beginNs;
      assert.ok(tookNs <= LIMIT_NS + SECOND, `${kind}: ${tookNs / SECOND} s`);
      if (message === null) continue;
      refused++;
      assert.match(message, /^(1|2|41): .*damaged\/model\.onnx: .{10}/, kind);
      assert.doesNotMatch(message, /ERROR_CODE|\.(cc|h|ts):\d+/, kind);
    }
    assert.ok(refused > 120, `${refused} were refused`);
    const again = await backend.infer(served, 1, 1, null).catch(() => null);
    if (again === null) {
      // A crash took the weights with it.
      const back = await backend.load("whole", 1);
      await backend.loadWeights(back, 1);
      assert.deepEqual((await backend.infer(back, 1, 1, null)).outputs, expected);
    } else {
      assert.deepEqual(again.outputs, expected);
    }
  } finally {
    backend.close();
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("errors name the operator or the dimension that is in the way", async () => {
  const directory = Deno.makeTempDirSync();
  const backend = await TestBackend.open({ device: "wasm", modelDirs: ModelDirs.only(directory) });
  try {
    const cases: [string, Model, RegExp][] = [
      ["operator", model(["n", 4], ["n", 4], [node("Frobnicate", ["x"], "y")], []), /Frobnicate/],
      [
        "shapes",
        model(["n", 4], ["n", 4], [node("MatMul", ["x", "w"], "y")], [
          floatTensor("w", [3, 4], () => 1),
        ]),
        /MatMul/,
      ],
      [
        "domain",
        {
          ...model(["n", 4], ["n", 4], [
            { ...node("Gelu", ["x"], "y"), domain: "com.example" },
          ], []),
          opsetImport: [{ domain: "", version: 13 }, { domain: "com.example", version: 1 }],
        },
        /com\.example/,
      ],
      [
        "huge",
        model([1, 4096, 4096, 64], ["n"], [node("Relu", ["x"], "y")], []),
        /4294967296 bytes.*limit|has 4294967296 bytes/,
      ],
      [
        "large",
        model([1, 4096, 4096, 8], ["n"], [node("Relu", ["x"], "y")], []),
        /one request's input has 536870912 bytes \("x" \[1,4096,4096,8\]\); a message takes/,
      ],
    ];
    for (const [name, made, expected] of cases) {
      writeModel(directory, name, made);
      await assert.rejects(backend.load(name, 1), expected, name);
    }
  } finally {
    backend.close();
    Deno.removeSync(directory, { recursive: true });
  }
});
