/** Models as they come: operator sets, data types, control flow, quantization, weights in other files. */
import assert from "node:assert/strict";
import { ModelDirs } from "../model_dirs.ts";
import { type Graph, type Model, type Node } from "./proto.ts";
import {
  differenceFromNative,
  floatTensor,
  intTensor,
  model,
  node,
  randomBlob,
  TestBackend,
  valueInfo,
  writeModel,
} from "./testing.ts";
import { VAD_MODELS, writeVadModels } from "./testing_vad.ts";

const FLOAT = 1, UINT8 = 2, INT8 = 3, INT32 = 6, INT64 = 7, BOOL = 9, FLOAT16 = 10;

async function withBackend(
  body: (backend: TestBackend, directory: string) => Promise<void>,
): Promise<void> {
  const directory = Deno.makeTempDirSync();
  let backend: TestBackend | undefined;
  try {
    backend = await TestBackend.open({ device: "wasm", modelDirs: ModelDirs.only(directory) });
    await body(backend, directory);
  } finally {
    backend?.close();
    Deno.removeSync(directory, { recursive: true });
  }
}

/** Serves a model and compares with the native ONNX Runtime at batch size 1, and 2 where it can. */
async function check(
  backend: TestBackend,
  name: string,
  tolerance = 1e-3,
  fill: Record<string, number> = {},
): Promise<void> {
  const loaded = await backend.load(name, 2);
  await backend.loadWeights(loaded, 1);
  for (const size of loaded.batchSizes) {
    const inputs = Array.from({ length: size }, (_, i) => randomBlob(loaded, i, fill));
    const { outputs } = await backend.infer(loaded, 1, size, inputs);
    const difference = await differenceFromNative(loaded, inputs, outputs);
    assert.ok(difference <= tolerance, `${name} b${size}: ${difference}`);
  }
  await backend.evictWeights(loaded, 1);
  backend.backend.unloadModel(loaded);
}

function int(name: string, i: number) {
  return { name, i, type: 2 };
}

function ints(name: string, values: number[]) {
  return { name, ints: values, type: 7 };
}

function graphAttribute(name: string, g: Graph) {
  return { name, g, type: 5 };
}

function weights(name: string, dims: number[]) {
  return floatTensor(name, dims, (i) => Math.sin(3 * i + dims.length) / 2);
}

/** Convolution, normalization, pooling and a classifier, as operator set `version` writes them. */
function classifier(version: number): Model {
  const made = model(["n", 2, 6, 6], ["n", 5], [
    node("Conv", ["x", "w", "b"], "c", [ints("pads", [1, 1, 1, 1])]),
    node("BatchNormalization", ["c", "b", "b", "m", "v"], "bn"),
    node("Relu", ["bn"], "r"),
    node("MaxPool", ["r"], "p", [ints("kernel_shape", [2, 2]), ints("strides", [2, 2])]),
    // Axes became an input: of ReduceMean in 18, of Unsqueeze in 13.
    version < 18
      ? node("ReduceMean", ["p"], "mean", [ints("axes", [2, 3]), int("keepdims", 0)])
      : node("ReduceMean", ["p", "axes"], "mean", [int("keepdims", 0)]),
    node("Gemm", ["mean", "fc", "fb"], "g", [int("transB", 1)]),
    node("Softmax", ["g"], "y", [int("axis", 1)]),
  ], [
    weights("w", [4, 2, 3, 3]),
    weights("b", [4]),
    weights("m", [4]),
    floatTensor("v", [4], () => 1.5),
    weights("fc", [5, 4]),
    weights("fb", [5]),
    ...(version < 18 ? [] : [intTensor("axes", [2], [2, 3])]),
  ]);
  // Version 9 is of the time before initializers need not be inputs.
  if (version === 9) {
    made.irVersion = 3;
    for (const { name, dims } of made.graph.initializer) {
      made.graph.input.push(valueInfo(name!, dims!.map(Number)));
    }
  }
  made.opsetImport = [{ domain: "", version }];
  return made;
}

Deno.test("operator sets 9 to 22", () =>
  withBackend(async (backend, directory) => {
    for (let version = 9; version <= 22; version++) {
      writeModel(directory, `opset${version}`, classifier(version));
      await check(backend, `opset${version}`, 1e-5);
    }
  }));

/** A model with inputs and outputs of any types. */
function typed(
  inputs: [name: string, shape: (number | string)[], type: number][],
  outputs: [name: string, shape: (number | string)[], type: number][],
  nodes: Node[],
  initializer: Model["graph"]["initializer"],
): Model {
  const made = model([], [], nodes, initializer);
  made.graph.input = inputs.map(([name, shape, type]) => valueInfo(name, shape, type));
  made.graph.output = outputs.map(([name, shape, type]) => valueInfo(name, shape, type));
  return made;
}

Deno.test("inputs and outputs of other types than float32, several at once", () =>
  withBackend(async (backend, directory) => {
    const embedding = typed(
      [["ids", ["n", 3], INT64], ["mask", ["n", 3], BOOL], ["kind", ["n", 3], INT32]],
      [["vectors", ["n", 3, 4], FLOAT], ["kinds", ["n", 3], INT32], ["any", ["n", 3], BOOL]],
      [
        node("Gather", ["table", "ids"], "vectors"),
        node("Add", ["kind", "one"], "kinds"),
        node("Not", ["mask"], "any"),
      ],
      [weights("table", [2, 4]), intTensor("one", [1], [1], INT32)],
    );
    const image = typed([["x", ["n", 4, 4, 3], UINT8]], [["y", ["n", 3, 4, 4], FLOAT]], [
      node("Cast", ["x"], "f", [int("to", FLOAT)]),
      node("Mul", ["f", "scale"], "s"),
      node("Transpose", ["s"], "y", [ints("perm", [0, 3, 1, 2])]),
    ], [weights("scale", [3])]);
    const halves = Float16Array.from({ length: 32 }, (_, i) => Math.sin(i));
    const half = typed([["x", ["n", 8], FLOAT16]], [["y", ["n", 4], FLOAT16]], [
      node("MatMul", ["x", "w"], "y"),
    ], [{
      name: "w",
      dims: [8, 4],
      dataType: FLOAT16,
      rawData: new Uint8Array(halves.buffer),
    }]);
    const models = { embedding, image, half };
    for (const [name, one] of Object.entries(models)) writeModel(directory, name, one);
    await check(backend, "embedding");
    await check(backend, "image");
    // The native library's binding does not take half floats.
    const loaded = await backend.load("half", 1);
    await backend.loadWeights(loaded, 1);
    const x = Float16Array.from({ length: 8 }, (_, i) => (i - 3) / 4);
    const blob = new Uint8Array(x.buffer);
    const [output] = (await backend.infer(loaded, 1, 1, [blob])).outputs;
    new Float16Array(output!.slice().buffer).forEach((y, column) => {
      const expected = x.reduce((sum, value, row) => sum + value * halves[4 * row + column]!, 0);
      assert.ok(Math.abs(y - expected) < 4e-3, `${y} instead of ${expected}`);
    });
  }));

Deno.test("models without a batch dimension, down to scalars", () =>
  withBackend(async (backend, directory) => {
    const scalar = typed([["x", [], FLOAT], ["n", [], INT64]], [["y", [], FLOAT]], [
      node("Cast", ["n"], "f", [int("to", FLOAT)]),
      node("Add", ["x", "f"], "y"),
    ], []);
    writeModel(directory, "scalar", scalar);
    await check(backend, "scalar");
    const loaded = await backend.load("scalar");
    assert.deepEqual([loaded.inputBytes, loaded.outputBytes, loaded.batchSizes], [12, 4, [1]]);
  }));

/** The body of an If, Loop or Scan. */
function body(
  input: [string, (number | string)[], number][],
  output: [string, (number | string)[], number][],
  nodes: Node[],
): Graph {
  return {
    name: "body",
    node: nodes,
    initializer: [],
    input: input.map(([name, shape, type]) => valueInfo(name, shape, type)),
    output: output.map(([name, shape, type]) => valueInfo(name, shape, type)),
  };
}

Deno.test("If, Loop and Scan, with weights from outside their bodies", () =>
  withBackend(async (backend, directory) => {
    const branch = (op: string) => body([], [["z", ["n", 4], FLOAT]], [node(op, ["x", "w"], "z")]);
    const choice = typed([["x", ["n", 4], FLOAT]], [["y", ["n", 4], FLOAT]], [
      node("ReduceSum", ["x"], "sum", [int("keepdims", 0)]),
      node("Greater", ["sum", "zero"], "positive"),
      node("If", ["positive"], "y", [
        graphAttribute("then_branch", branch("Mul")),
        graphAttribute("else_branch", branch("Sub")),
      ]),
    ], [weights("w", [4]), floatTensor("zero", [], () => 0)]);
    const loop = typed([["x", ["n", 4], FLOAT]], [["y", ["n", 4], FLOAT]], [
      node("Loop", ["trips", "true", "x"], "y", [graphAttribute(
        "body",
        body(
          [["i", [], INT64], ["go", [], BOOL], ["v", ["n", 4], FLOAT]],
          [["go2", [], BOOL], ["v2", ["n", 4], FLOAT]],
          [node("Identity", ["go"], "go2"), node("MatMul", ["v", "m"], "v2")],
        ),
      )]),
    ], [
      weights("m", [4, 4]),
      intTensor("trips", [], [5]),
      { name: "true", dims: [], dataType: BOOL, rawData: Uint8Array.of(1) },
    ]);
    const scan = typed([["x", [6, 3], FLOAT]], [["sum", [3], FLOAT], ["all", [6, 3], FLOAT]], [{
      opType: "Scan",
      input: ["start", "x"],
      output: ["sum", "all"],
      attribute: [
        int("num_scan_inputs", 1),
        graphAttribute(
          "body",
          body([["s", [3], FLOAT], ["row", [3], FLOAT]], [["s2", [3], FLOAT], ["o", [3], FLOAT]], [
            node("Add", ["s", "row"], "s2"),
            node("Identity", ["s2"], "o"),
          ]),
        ),
      ],
    }], [weights("start", [3])]);
    for (const [name, one] of Object.entries({ choice, loop, scan })) {
      writeModel(directory, name, one);
      await check(backend, name);
    }
  }));

Deno.test("quantized models: integer arithmetic, and quantization around float operators", () =>
  withBackend(async (backend, directory) => {
    const scale = (name: string, value: number) => floatTensor(name, [], () => value);
    const bytes = Array.from({ length: 32 }, (_, i) => (i * 37) % 200 - 100);
    const dynamic = model(["n", 8], ["n", 4], [
      { opType: "DynamicQuantizeLinear", input: ["x"], output: ["q", "s", "z"] },
      node("MatMulInteger", ["q", "w", "z"], "i"),
      node("Cast", ["i"], "f", [int("to", FLOAT)]),
      node("Mul", ["f", "s"], "y"),
    ], [intTensor("w", [8, 4], bytes, INT8)]);
    const around = model(["n", 8], ["n", 4], [
      node("QuantizeLinear", ["x", "xs", "xz"], "q"),
      node("DequantizeLinear", ["q", "xs", "xz"], "d"),
      node("DequantizeLinear", ["w", "ws", "wz"], "wd"),
      node("MatMul", ["d", "wd"], "y"),
    ], [
      intTensor("w", [8, 4], bytes, INT8),
      scale("xs", 0.01),
      intTensor("xz", [], [128], UINT8),
      scale("ws", 0.02),
      intTensor("wz", [], [0], INT8),
    ]);
    const linear = typed([["x", ["n", 8], UINT8]], [["y", ["n", 4], UINT8]], [
      node("QLinearMatMul", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"], "y"),
    ], [
      scale("xs", 0.02),
      intTensor("xz", [], [120], UINT8),
      intTensor("w", [8, 4], bytes.map((b) => b + 100), UINT8),
      scale("ws", 0.01),
      intTensor("wz", [], [100], UINT8),
      scale("ys", 0.5),
      intTensor("yz", [], [128], UINT8),
    ]);
    for (const [name, one] of Object.entries({ dynamic, around, linear })) {
      writeModel(directory, name, one);
      await check(backend, name);
    }
  }));

Deno.test("weights in other files, which are looked for in the model's folder only", () =>
  withBackend(async (backend, directory) => {
    const external = (location: string, offset?: number): Model =>
      model(["n", 16], ["n", 8], [node("MatMul", ["x", "w"], "y")], [{
        name: "w",
        dims: [16, 8],
        dataType: FLOAT,
        dataLocation: 1,
        externalData: [
          { key: "location", value: location },
          ...(offset === undefined ? [] : [
            { key: "offset", value: `${offset}` },
            { key: "length", value: `${16 * 8 * 4}` },
          ]),
        ],
      }]);
    const values = Float32Array.from({ length: 64 + 128 }, (_, i) => Math.cos(i));
    writeModel(directory, "external", external("weights.bin", 256));
    Deno.writeFileSync(`${directory}/external/weights.bin`, new Uint8Array(values.buffer));
    await check(backend, "external");
    const loaded = await backend.load("external", 1);
    assert.equal(loaded.weightsBytes, 16 * 8 * 4);
    backend.backend.unloadModel(loaded);

    // Other weights are another model, although the ONNX file is the same.
    const json = JSON.parse(Deno.readTextFileSync(`${directory}/external/model.json`));
    const [profile] = Object.values(json.profiles) as { data_sha256: string }[];
    values.fill(0.25);
    Deno.writeFileSync(`${directory}/external/weights.bin`, new Uint8Array(values.buffer));
    await check(backend, "external");
    const later = JSON.parse(Deno.readTextFileSync(`${directory}/external/model.json`));
    const [other] = Object.values(later.profiles) as { data_sha256: string }[];
    assert.notEqual(other!.data_sha256, profile!.data_sha256);

    writeModel(directory, "absent", external("nowhere.bin"));
    await assert.rejects(backend.load("absent"), /41: .*cannot read the weights in .*nowhere\.bin/);
    for (const bad of ["../external/weights.bin", "/etc/hostname", "a/../../secret"]) {
      writeModel(directory, "bad", external(bad));
      await assert.rejects(backend.load("bad"), /41: .*must be a path within the model's folder/);
    }
    writeModel(directory, "linked", external("weights.bin"));
    Deno.symlinkSync("../external/weights.bin", `${directory}/linked/weights.bin`);
    await backend.load("linked");
    Deno.removeSync(`${directory}/linked/weights.bin`);
    Deno.symlinkSync("/etc/hostname", `${directory}/linked/weights.bin`);
    await assert.rejects(
      backend.load("linked", 2),
      /41: .*weights\.bin: it is a link to what is outside/,
    );
  }));

Deno.test("the Silero voice activity detectors give what the native ONNX Runtime gives", () =>
  withBackend(async (backend, directory) => {
    await writeVadModels(directory);
    for (const name of VAD_MODELS) {
      await check(backend, name, 1e-3, { sr: 16000 });
    }
  }));
