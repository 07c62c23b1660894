import assert from "node:assert/strict";
import fc from "fast-check";
import type { Request } from "../scheduler.ts";
import { RequestQueue } from "./request_queue.ts";

Deno.test("a queue is its requests sorted by deadline, then arrival, under any use", () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ insert: fc.nat(20) }) },
    fc.record({ from: fc.nat(10), count: fc.nat(10) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: "max" }), fc.nat(22), (steps, ns) => {
      const queue = new RequestQueue<Request>();
      let model: Request[] = [];
      steps.forEach((one, i) => {
        if ("insert" in one) {
          const request = { modelId: 0, arrivalNs: i, deadlineNs: one.insert, inputBytes: 0 };
          model.push(request);
          model.sort((a, b) => a.deadlineNs - b.deadlineNs || a.arrivalNs - b.arrivalNs);
          assert.equal(queue.insert(request), model.indexOf(request));
        } else if (one.from < model.length) {
          const count = Math.min(one.count, model.length - one.from);
          assert.deepEqual(queue.take(one.from, count), model.slice(one.from, one.from + count));
          model = model.toSpliced(one.from, count);
        }
        assert.equal(queue.length, model.length);
        model.forEach((request, k) => assert.equal(queue.at(k), request));
        const first = model.findIndex(({ deadlineNs }) => deadlineNs >= ns);
        assert.equal(queue.firstFrom(ns), first < 0 ? model.length : first);
      });
    }),
  );
});
