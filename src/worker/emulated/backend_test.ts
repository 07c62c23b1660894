import assert from "node:assert/strict";
import { VirtualClock } from "../../core/virtual_clock.ts";
import { type InferOutcome, isFailure } from "../backend.ts";
import { makeModel } from "../test_rig.ts";
import { EmulatedBackend } from "./backend.ts";

Deno.test("outputs share one buffer of zeros, whatever their number", () => {
  const clock = new VirtualClock();
  const backend = new EmulatedBackend({
    clock,
    gpus: 1,
    weightsCacheBytes: 1000,
    readModel: makeModel,
  });
  const model = makeModel("1/m", 1);
  const outcomes: InferOutcome[] = [];
  for (const requests of [1, 3, 3]) {
    const inputs = new Array(requests).fill(new Uint8Array(model.inputBytes));
    backend.infer(0, model, 0, requests === 1 ? 1 : 4, inputs, (outcome) => {
      assert.ok(!isFailure(outcome));
      outcomes.push(outcome);
    });
    clock.advance(100e6);
  }
  const [one, three, again] = outcomes.map(({ outputs }) => outputs);
  assert.deepEqual(one!.map((output) => output.length), [model.outputBytes]);
  assert.equal(three!.length, 3);
  assert.equal(three, again);
  assert.equal(three![2]!.buffer, one![0]!.buffer);
});

Deno.test("a batch size without a profile is an error, not a guess", () => {
  const clock = new VirtualClock();
  const backend = new EmulatedBackend({
    clock,
    gpus: 1,
    weightsCacheBytes: 1000,
    readModel: makeModel,
  });
  assert.throws(
    () => backend.infer(0, makeModel("1/m", 1), 0, 3, null, () => {}),
    /no profile for batch size 3/,
  );
});
