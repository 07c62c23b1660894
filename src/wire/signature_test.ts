import assert from "node:assert/strict";
import type { Signature, Tensor } from "./messages.ts";
import { isBatched, requestShape, signatureProblem, tensorBytes } from "./signature.ts";

const tensor = (shape: number[], datatype = "FP32", name = "x"): Tensor => ({
  name,
  datatype,
  shape,
});

Deno.test("a request's share of a tensor is all but its batch dimension", () => {
  const cases: [Tensor, boolean, number[], number][] = [
    [tensor([-1, 3, 4]), true, [3, 4], 48],
    [tensor([-1], "INT64"), true, [], 8],
    [tensor([3, 4], "FP16"), false, [3, 4], 24],
    [tensor([], "BOOL"), false, [], 1],
    [tensor([-1, 0, 5]), true, [0, 5], 0],
  ];
  for (const [one, batched, shape, bytes] of cases) {
    assert.equal(isBatched(one), batched);
    assert.deepEqual(requestShape(one), shape);
    assert.equal(tensorBytes(one), bytes);
  }
  // Only the first dimension can be the batch's, and texts have no fixed size.
  assert.ok(Number.isNaN(tensorBytes(tensor([-1, -1]))));
  assert.ok(Number.isNaN(tensorBytes(tensor([-1, 2], "BYTES"))));
});

Deno.test("what a signature says must fit the sizes, tensor by tensor", () => {
  const sizes = { input_size: 24, output_size: 8 };
  const inputs = [tensor([-1, 4]), tensor([-1], "INT64", "y")];
  const outputs = [tensor([-1, 2])];
  const problem = (change: Partial<Signature>) =>
    signatureProblem({ inputs, outputs, ...change }, sizes);
  assert.equal(problem({}), null);
  assert.equal(problem({ inputs: [] }), "its inputs have 0 bytes, and it says 24");
  assert.equal(problem({ outputs: inputs }), "its outputs have 24 bytes, and it says 8");
  assert.equal(problem({ inputs: [tensor([4]), tensor([2])] }), 'it has two inputs "x"');
  assert.equal(
    problem({ outputs: [tensor([-1, -1])] }),
    'output "x" cannot be a FP32[-1,-1]',
  );
  assert.equal(
    signatureProblem({ inputs: [], outputs: [] }, { input_size: 0, output_size: 0 }),
    null,
  );
});
