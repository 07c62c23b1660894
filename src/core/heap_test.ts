import assert from "node:assert/strict";
import fc from "fast-check";
import { Heap } from "./heap.ts";

Deno.test("a heap yields what was pushed, in order, under any mix of pushes and pops", () => {
  fc.assert(fc.property(
    fc.array(fc.oneof(fc.integer(), fc.constant(null)), { maxLength: 200 }),
    (steps) => {
      const heap = new Heap<number>((a, b) => a < b);
      let model: number[] = [];
      for (const step of steps) {
        if (step === null) {
          model.sort((a, b) => a - b);
          assert.equal(heap.peek(), model[0]);
          assert.equal(heap.pop(), model[0]);
          model = model.slice(1);
        } else {
          heap.push(step);
          model.push(step);
        }
        assert.equal(heap.size, model.length);
      }
    },
  ));
});

Deno.test("filter keeps the order of what stays", () => {
  fc.assert(fc.property(fc.array(fc.integer()), (values) => {
    const heap = new Heap<number>((a, b) => a < b);
    for (const value of values) heap.push(value);
    heap.filter((value) => value % 2 === 0);
    const drained: number[] = [];
    while (heap.size > 0) drained.push(heap.pop()!);
    assert.deepEqual(drained, values.filter((value) => value % 2 === 0).sort((a, b) => a - b));
  }));
});
