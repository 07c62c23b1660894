import assert from "node:assert/strict";
import { MS } from "./clock.ts";
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
