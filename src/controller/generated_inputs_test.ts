import assert from "node:assert/strict";
import { GeneratedInputs } from "./generated_inputs.ts";

Deno.test("inputs are numbers from 0 to 1, the same each time, and share their memory", () => {
  const inputs = new GeneratedInputs();
  const small = inputs.of(10).slice();
  assert.equal(small.length, 10);
  const large = inputs.of(4000);
  const numbers = new Float32Array(large.buffer, 0, 1000);
  assert.ok(numbers.every((number) => number >= 0 && number < 1));
  assert.ok(new Set(numbers).size > 900);
  assert.deepEqual(inputs.of(10), small);
  assert.equal(inputs.of(10).buffer, large.buffer);
  assert.deepEqual(new GeneratedInputs().of(4000), large);
  assert.equal(inputs.of(0).length, 0);
});

Deno.test("a batch in which some inputs are missing is completed, another left as it is", () => {
  const inputs = new GeneratedInputs();
  const [given, none] = [Uint8Array.of(1, 2, 3, 4), new Uint8Array(0)];
  assert.deepEqual(inputs.complete([none, given, none], 4), [inputs.of(4), given, inputs.of(4)]);
  for (const batch of [[given, given], [none, none], []]) {
    assert.equal(inputs.complete(batch, 4), batch);
  }
});
