import assert from "node:assert/strict";
import { MS } from "../core/clock.ts";
import { ActionStatus } from "../core/status.ts";
import { failure, local, ran, split } from "./outcomes.ts";

Deno.test("what a worker says it did is told in the controller's time, if it can be true", () => {
  const offsetNs = -1000 * MS;
  /** Of an action that was sent at 10 ms, and whose result came at 20. */
  const told = (beginMs: number, endMs: number) => {
    const times = { begin_ns: (1000 + beginMs) * MS, end_ns: (1000 + endMs) * MS };
    const { status, beginNs, endNs } = ran(times, offsetNs, 10 * MS, 20 * MS);
    return [status, beginNs / MS, endNs / MS];
  };
  assert.deepEqual(told(12, 17), [0, 12, 17]);
  assert.deepEqual(told(18, 23), [0, 15, 20], "it ended before its result came");
  assert.deepEqual(told(3, 8), [0, 5, 10], "and after it was sent");
  assert.deepEqual(told(9, 20), [0, 9, 20], "clocks differ a little");
  const untrue = [ActionStatus.runtimeError, 0, 0];
  assert.deepEqual(told(8.5, 20), untrue, "longer than there was time for");
  assert.deepEqual(told(17, 16), untrue);
  assert.deepEqual(told(NaN, 16), untrue);
  assert.match(ran({ begin_ns: 5, end_ns: 1 }, 0, 0, 9).message, /it took -4 ns, of the 9 ns/);
});

Deno.test("a failure is one, whatever the worker calls it", () => {
  assert.equal(failure(0, "no").status, ActionStatus.runtimeError);
  assert.equal(failure(22, "in use").status, ActionStatus.weightsInUse);
});

Deno.test("a time of 0 stands for none", () => {
  const sync = { toLocal: (ns: number) => ns + 5 };
  assert.deepEqual([0, 1].map((ns) => local(sync, ns)), [0, 6]);
});

Deno.test("outputs are cut to one of the right size a request, or none is believed", () => {
  const payload = Uint8Array.of(1, 2, 3, 4);
  assert.deepEqual(split(payload, [2, 2], 2, 2)?.map((output) => [...output]), [[1, 2], [3, 4]]);
  assert.equal(split(payload, [2, 2], 1, 2), null);
  assert.equal(split(payload, [1, 3], 2, 2), null);
  assert.equal(split(payload, [2], 1, 2), null, "bytes are left");
  assert.equal(split(payload, [4, 4], 2, 4), null, "bytes are missing");
  assert.deepEqual(split(new Uint8Array(0), [], 0, 2), []);
});
