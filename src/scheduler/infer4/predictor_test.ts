import assert from "node:assert/strict";
import { MS } from "../../core/clock.ts";
import { Predictor } from "./predictor.ts";

const piece = (expectedMs: number, arrivesMs = 0) => ({
  expectedNs: expectedMs * MS,
  arrivesNs: arrivesMs * MS,
});

/** A predictor told of and asked for milliseconds. */
function rig(resultDelayMs = 0) {
  const predictor = new Predictor<ReturnType<typeof piece>>();
  predictor.resultDelayNs = resultDelayMs * MS;
  return {
    predictor,
    add: (expectedMs: number, arrivesMs = 0) => {
      const added = piece(expectedMs, arrivesMs);
      predictor.add(added);
      return added;
    },
    end: (ended: ReturnType<typeof piece>, atMs: number | null) =>
      predictor.remove(ended, atMs === null ? null : atMs * MS),
    freeMs: (nowMs: number) => predictor.freeNs(nowMs * MS) / MS,
  };
}

Deno.test("an engine is free when the work it has is expected to end, and never before now", () => {
  const { add, freeMs } = rig();
  assert.equal(freeMs(7), 7);
  add(3, 10);
  assert.equal(freeMs(7), 13);
  add(4, 11);
  assert.equal(freeMs(7), 17);
  add(5, 30);
  assert.equal(freeMs(7), 35, "its input is not there before");
});

Deno.test("a result anchors the prediction at the measured end, whatever the order", () => {
  const { predictor, add, end, freeMs } = rig();
  const [first, second, third] = [add(10), add(10), add(10)];
  assert.equal(predictor.outstanding, 3);
  end(first, 8);
  assert.equal(freeMs(9), 28);
  end(third, null);
  assert.equal(freeMs(9), 18);
  end(third, 100);
  assert.equal(freeMs(9), 18, "it had ended");
  end(second, 21);
  assert.equal(freeMs(20), 20, "the engine has nothing to do");
  add(5);
  assert.equal(freeMs(20), 26, "it begins when the last has ended");
  end(add(1, 25), 15);
  assert.equal(freeMs(20), 26, "an older end changes nothing");
});

Deno.test("what is overdue is expected any moment; once it is stuck, the engine is out of reach", () => {
  const { add, freeMs } = rig(2);
  add(10);
  add(5, 0);
  assert.equal(freeMs(12), 15, "the result of the first may be on its way");
  assert.equal(freeMs(13), 16, "it has ended by now, less the way of its result");
  assert.equal(freeMs(22), 25);
  assert.equal(freeMs(23), 38, "10 ms and the second");
});

Deno.test("an engine whose only piece is overdue is free now, not in the past", () => {
  const { add, freeMs } = rig(2);
  add(10);
  assert.equal(freeMs(13), 13);
});

Deno.test("what comes after a result begins no sooner than its input is there", () => {
  const { add, end, freeMs } = rig();
  const first = add(10);
  add(5, 20);
  add(5, 40);
  end(first, 10);
  assert.equal(freeMs(10), 45);
});

Deno.test("an engine that let a window pass is left alone, twice as long each time, until it works", () => {
  const { predictor, add, end, freeMs } = rig();
  const distrust = (atMs: number) => predictor.distrust(atMs * MS);
  distrust(0);
  assert.equal(freeMs(1), 10);
  distrust(5);
  assert.equal(freeMs(6), 10, "several that expire together are one sign");
  distrust(10);
  assert.equal(freeMs(11), 30);
  const queued = add(4);
  assert.equal(freeMs(11), 34);
  for (const [atMs, untilMs] of [[30, 70], [70, 150], [150, 310], [310, 470]] as const) {
    distrust(atMs);
    end(queued, null);
    assert.equal(freeMs(atMs), untilMs);
  }
  const proof = add(1);
  end(proof, 471);
  assert.equal(freeMs(472), 472);
  distrust(500);
  assert.equal(freeMs(500), 510);
  end(add(1), 501);
  assert.equal(freeMs(502), 502, "a result ends the distrust at once");
});
