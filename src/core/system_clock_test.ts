import assert from "node:assert/strict";
import { MS } from "./clock.ts";
import { SystemClock } from "./system_clock.ts";

Deno.test("the system clock makes calls in order, never early, never within at()", async () => {
  const clock = new SystemClock();
  try {
    const start = clock.now();
    const seen: string[] = [];
    await new Promise<void>((resolve) => {
      clock.at(start + 12 * MS, () => {
        seen.push("12");
        resolve();
      });
      clock.at(start + 3 * MS, () => {
        assert.ok(clock.now() >= start + 3 * MS);
        seen.push("3");
        clock.at(start, () => seen.push("past"));
        assert.deepEqual(seen, ["now", "3"]);
      });
      clock.at(start + 6 * MS, () => seen.push("cancelled")).cancel();
      clock.at(start, () => seen.push("now"));
      assert.deepEqual(seen, []);
    });
    assert.deepEqual(seen, ["now", "3", "past", "12"]);
    assert.ok(clock.now() >= start + 12 * MS);
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
