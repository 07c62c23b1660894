import assert from "node:assert/strict";
import fc from "fast-check";
import type { Timer } from "./clock.ts";
import { TimerQueue } from "./timer_queue.ts";

type Step =
  | { readonly kind: "add"; readonly dueNs: number }
  | { readonly kind: "cancel"; readonly which: number }
  | { readonly kind: "take"; readonly nowNs: number };

/** Few times, so that many are equal. */
const timeNs = fc.nat(5);
const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: fc.record({ kind: fc.constant("add" as const), dueNs: timeNs }), weight: 4 },
  { arbitrary: fc.record({ kind: fc.constant("cancel" as const), which: fc.nat() }), weight: 3 },
  { arbitrary: fc.record({ kind: fc.constant("take" as const), nowNs: timeNs }), weight: 1 },
);

Deno.test("calls are taken when they are due, in order, and not once they are cancelled", () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 400, size: "max" }), (steps) => {
    const queue = new TimerQueue();
    /** All that were ever added, in that order. */
    const added: { timer: Timer; fn: () => void; dueNs: number }[] = [];
    const pending = new Set<typeof added[number]>();
    for (const step of steps) {
      if (step.kind === "add") {
        const fn = () => {};
        const one = { timer: queue.add(step.dueNs, fn), fn, dueNs: step.dueNs };
        added.push(one);
        pending.add(one);
      } else if (step.kind === "cancel") {
        // Some have been taken or cancelled before: that changes nothing.
        const one = added[step.which % added.length];
        one?.timer.cancel();
        if (one !== undefined) pending.delete(one);
      } else {
        const first = [...pending].sort((a, b) => a.dueNs - b.dueNs)[0];
        const due = first !== undefined && first.dueNs <= step.nowNs ? first : undefined;
        assert.equal(queue.takeDue(step.nowNs), due?.fn);
        if (due !== undefined) pending.delete(due);
      }
      assert.equal(queue.size, pending.size);
      assert.equal(queue.nextDueNs, Math.min(...[...pending].map(({ dueNs }) => dueNs)));
    }
  }));
});

Deno.test("a time that is not a number is an error of the caller", () => {
  assert.throws(() => new TimerQueue().add(NaN, () => {}), RangeError);
});
