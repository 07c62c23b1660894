import assert from "node:assert/strict";
import type { Header, Signature } from "../wire/messages.ts";
import { signatureProblem } from "../wire/signature.ts";
import type { TensorSpec } from "./backend.ts";
import { EmulatedBackend } from "./emulated/backend.ts";
import { tensorSpec } from "./model_files.ts";
import { signatureOf } from "./signature.ts";
import { makeModel, Rig } from "./test_rig.ts";

/** A worker whose models have these inputs. */
function rigOf(inputs: readonly TensorSpec[]): Rig {
  return new Rig({
    backend: (clock) =>
      new EmulatedBackend({
        clock,
        gpus: 1,
        weightsCacheBytes: 10_000,
        readModel: (path, gpus) => ({
          ...makeModel(path, gpus),
          inputs,
          inputBytes: inputs.reduce((sum, { bytes }) => sum + bytes, 0),
        }),
      }),
  });
}

Deno.test("tensors are told with their names, types and shapes, the batch dimension as -1", () => {
  const inputs = [
    tensorSpec("ids", "int64", [128], true),
    tensorSpec("mask", "bool", [128], true),
    tensorSpec("scale", "float16", [], false),
    tensorSpec("whole", "uint8", [1, 4], false),
  ];
  const model = { ...makeModel("1/a", 1), inputs };
  const signature = signatureOf(model);
  assert.deepEqual(signature.inputs, [
    { name: "ids", datatype: "INT64", shape: [-1, 128] },
    { name: "mask", datatype: "BOOL", shape: [-1, 128] },
    { name: "scale", datatype: "FP16", shape: [] },
    { name: "whole", datatype: "UINT8", shape: [1, 4] },
  ]);
  const sizes = { input_size: 128 * 8 + 128 + 2 + 4, output_size: model.outputBytes };
  assert.equal(signatureProblem(signature, sizes), null);
  assert.match(signatureProblem(signature, { ...sizes, input_size: 1 })!, /have 1158 bytes/);
});

Deno.test("the copies of models share what they take and give", () => {
  const rig = new Rig({ config: { max_models: 1e6 } });
  const controller = rig.connect();
  controller.loadModel(0, "1/a", 1000);
  controller.loadModel(1000, "1/b", 1000);
  rig.run();
  const { signatures, models } = rig.server.node.state();
  const expected: Signature = {
    inputs: [{ name: "x", datatype: "FP32", shape: [-1, 3] }],
    outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
  };
  assert.deepEqual(signatures, [expected]);
  assert.equal(models.length, 2000);
  assert.ok(models.every(({ signature }) => signature === 0));
  assert.ok(!("inputs" in models[0]!));
});

Deno.test("a model whose tensors cannot be told is refused, and the worker goes on", () => {
  const one = tensorSpec("x", "float32", [3], true);
  const cases: [TensorSpec[], RegExp][] = [
    [
      Array.from({ length: 257 }, (_, i) => ({ ...one, name: `x${i}` })),
      /257 inputs and 1 outputs/,
    ],
    [[{ ...one, name: "n".repeat(257) }], /has 257 characters, and may have 256/],
    [[{ ...one, shape: new Array(32).fill(1) }], /33 dimensions, and may have 32/],
  ];
  for (const [inputs, problem] of cases) {
    const rig = rigOf(inputs);
    const controller = rig.connect();
    const load = controller.loadModel(0, "1/a");
    rig.run();
    const { header } = controller.result(load);
    assert.match((header as Header<"ErrorResult">).message, problem);
    assert.equal(rig.server.node.state().models.length, 0);
  }
});
