import assert from "node:assert/strict";
import fc from "fast-check";
import { every, MS } from "./clock.ts";
import { VirtualClock } from "./virtual_clock.ts";

Deno.test("calls are made at their time, in order, ties as asked for", () => {
  fc.assert(fc.property(fc.array(fc.nat(20)), (times) => {
    const clock = new VirtualClock();
    const seen: [number, number][] = [];
    times.forEach((time, index) =>
      clock.at(time, () => {
        assert.equal(clock.now(), time);
        seen.push([time, index]);
      })
    );
    clock.run(20);
    const expected = times.map((time, index): [number, number] => [time, index])
      .sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    assert.deepEqual(seen, expected);
  }));
});

Deno.test("a call for the past is made at the present, but not within the asking call", () => {
  const clock = new VirtualClock(100);
  let called = false;
  clock.at(5, () => called = true);
  assert.equal(called, false);
  clock.run(100);
  assert.equal(called, true);
  assert.equal(clock.now(), 100);
});

Deno.test("cancelled calls are not made, however many there are", () => {
  const clock = new VirtualClock();
  let made = 0;
  const timers = Array.from({ length: 1000 }, (_, i) => clock.at(i, () => made++));
  timers.forEach((timer, i) => {
    if (i % 10 !== 0) timer.cancel();
  });
  timers[1]!.cancel();
  assert.equal(clock.pending, 100);
  clock.run(1000);
  assert.equal(made, 100);
  assert.equal(clock.pending, 0);
});

Deno.test("every keeps its period and can be cancelled from within", () => {
  const clock = new VirtualClock();
  const times: number[] = [];
  const timer = every(clock, MS, () => {
    times.push(clock.now());
    if (times.length === 3) timer.cancel();
  });
  clock.run(10 * MS);
  assert.deepEqual(times, [MS, 2 * MS, 3 * MS]);
});

Deno.test("runAsync lets awaiting code go on between calls", async () => {
  const clock = new VirtualClock();
  const sleep = (ns: number) =>
    new Promise<void>((resolve) => clock.at(clock.now() + ns, () => resolve()));
  const times: number[] = [];
  const program = (async () => {
    for (let i = 0; i < 3; i++) {
      await sleep(10);
      times.push(clock.now());
    }
  })();
  await clock.runAsync(100);
  await program;
  assert.deepEqual(times, [10, 20, 30]);
  assert.equal(clock.now(), 100);
  // Up to and including the end.
  const last = sleep(10);
  await clock.runAsync(110);
  await last;
});

Deno.test("advance goes on from the present", () => {
  const clock = new VirtualClock(5);
  const times: number[] = [];
  for (const time of [7, 8]) clock.at(time, () => times.push(clock.now()));
  clock.advance(2);
  assert.deepEqual([times, clock.now()], [[7], 7]);
  clock.advance(1);
  assert.deepEqual([times, clock.now()], [[7, 8], 8]);
});
