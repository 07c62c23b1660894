import assert from "node:assert/strict";
import { MS, US } from "./clock.ts";
import { Random } from "./random.ts";
import { SystemClock } from "./system_clock.ts";

Deno.test("the system clock makes calls in order, never early, never within at()", async () => {
  const clock = new SystemClock();
  try {
    const start = clock.now();
    const seen: string[] = [];
    await new Promise<void>((resolve) => {
      clock.at(start + 4 * MS, () => seen.push("4"));
      clock.at(start + 3 * MS, () => {
        assert.ok(clock.now() >= start + 3 * MS);
        seen.push("3");
        // What is due already is made in a later turn, after those that were due before it was asked for.
        clock.at(start, () => {
          seen.push("past");
          clock.at(clock.now() + 2 * MS, resolve);
        });
      });
      clock.at(start + 6 * MS, () => seen.push("cancelled")).cancel();
      clock.at(start, () => seen.push("now"));
      assert.deepEqual(seen, []);
    });
    assert.deepEqual(seen.filter((what) => what !== "past"), ["now", "3", "4"]);
    assert.ok(seen.indexOf("past") > seen.indexOf("3"));
  } finally {
    clock.close();
  }
});

Deno.test("a call that throws does not stop the calls after it", async () => {
  const clock = new SystemClock();
  const errors: unknown[] = [];
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    errors.push(event.error);
  };
  addEventListener("error", onError);
  try {
    await new Promise<void>((resolve) => {
      clock.at(clock.now() + 2 * MS, () => {
        throw new Error("boom");
      });
      clock.at(clock.now() + 2 * MS + 1, resolve);
    });
    assert.equal((errors[0] as Error).message, "boom");
  } finally {
    removeEventListener("error", onError);
    clock.close();
  }
});

Deno.test("a closed clock makes no call any more, not even one that was due before", async () => {
  const clock = new SystemClock();
  const made: string[] = [];
  const dueNs = clock.now() + 2 * MS;
  await new Promise<void>((resolve) => {
    clock.at(dueNs, () => {
      made.push("first");
      clock.close();
      clock.at(dueNs, () => made.push("late"));
      setTimeout(resolve, 10);
    });
    clock.at(dueNs, () => made.push("second"));
  });
  assert.deepEqual(made, ["first"]);
});

Deno.test("no call comes early, once the clock has learnt how late its thread is", async () => {
  const clock = new SystemClock();
  const random = new Random(1);
  const earlyNs: number[] = [];
  try {
    // More than it takes to learn, and some so soon that the thread would be late.
    for (let i = 0; i < 300; i++) {
      const dueNs = clock.now() + random.below(i % 3 === 0 ? 50 * US : 2 * MS);
      await new Promise<void>((resolve) => clock.at(dueNs, resolve));
      if (clock.now() < dueNs) earlyNs.push(dueNs - clock.now());
    }
    assert.deepEqual(earlyNs, []);
  } finally {
    clock.close();
  }
});

Deno.test("what is due already waits for the next turn, in a process of more than 2^53 ns too", async () => {
  const { now } = performance;
  // A process of 110 days: more than 2^53 ns.
  performance.now = () => now.call(performance) + 110 * 86_400_000;
  const clock = new SystemClock();
  try {
    assert.ok(clock.now() > 2 ** 53);
    let calls = 0, firing = false;
    await new Promise<void>((resolve, reject) => {
      const again = () => {
        if (firing) reject(new Error("two calls in one turn"));
        firing = true;
        queueMicrotask(() => firing = false);
        if (++calls < 100) clock.at(0, again);
        else resolve();
      };
      clock.at(clock.now() + MS, again);
    });
  } finally {
    clock.close();
    performance.now = now;
  }
});
