import assert from "node:assert/strict";
import fc from "fast-check";
import { IndexedHeap } from "./indexed_heap.ts";

interface Item {
  rank: number;
  index: number;
}

function make(): IndexedHeap<Item> {
  return new IndexedHeap<Item>((a, b) => a.rank < b.rank, (item, index) => item.index = index);
}

type Step =
  | { readonly kind: "add"; readonly rank: number }
  | { readonly kind: "remove"; readonly which: number }
  | { readonly kind: "update"; readonly which: number; readonly rank: number };

/** Few ranks, so that many are equal. */
const rank = fc.integer({ min: -5, max: 5 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: fc.record({ kind: fc.constant("add" as const), rank }), weight: 3 },
  { arbitrary: fc.record({ kind: fc.constant("remove" as const), which: fc.nat() }), weight: 1 },
  {
    arbitrary: fc.record({ kind: fc.constant("update" as const), which: fc.nat(), rank }),
    weight: 2,
  },
);

Deno.test("the first is before all others, and every item knows its place, whatever is done", () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
    const heap = make();
    const items = new Set<Item>();
    const pick = (which: number) => [...items][which % items.size];
    for (const step of steps) {
      if (step.kind === "add") {
        const item = { rank: step.rank, index: NaN };
        heap.add(item);
        items.add(item);
      } else {
        const item = pick(step.which);
        if (item === undefined) continue;
        if (step.kind === "remove") {
          heap.remove(item.index);
          items.delete(item);
          assert.equal(item.index, -1);
        } else {
          item.rank = step.rank;
          heap.update(item.index);
        }
      }
      assert.equal(heap.size, items.size);
      const listed = heap.items();
      assert.deepEqual(new Set(listed), items);
      for (const item of items) {
        assert.equal(listed[item.index], item);
        const parent = listed[(item.index - 1) >> 1];
        assert.ok(parent === undefined || parent.rank <= item.rank);
      }
      const least = Math.min(...[...items].map(({ rank }) => rank));
      assert.equal(heap.first?.rank, items.size === 0 ? undefined : least);
    }
    // Taken out one by one, they come in order.
    const ranks: number[] = [];
    for (let first = heap.first; first !== undefined; first = heap.first) {
      ranks.push(first.rank);
      heap.remove(0);
    }
    assert.deepEqual(ranks, ranks.toSorted((a, b) => a - b));
    assert.equal(ranks.length, items.size);
  }));
});

Deno.test("an index at which nothing lies is an error", () => {
  const heap = make();
  heap.add({ rank: 1, index: NaN });
  for (const index of [-1, 1, NaN]) {
    assert.throws(() => heap.remove(index), RangeError);
    assert.throws(() => heap.update(index), RangeError);
  }
  assert.equal(heap.size, 1);
});
