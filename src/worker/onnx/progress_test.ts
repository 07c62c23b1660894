import assert from "node:assert/strict";
import { SECOND } from "../../core/clock.ts";
import { VirtualClock } from "../../core/virtual_clock.ts";
import { telling } from "./progress.ts";

Deno.test("what takes long is told about, less and less often, until it ends", async () => {
  for (const fails of [false, true]) {
    const clock = new VirtualClock(5 * SECOND);
    const lines: string[] = [];
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const told = telling(clock, (line) => lines.push(line), "compiling a", promise);
    clock.advance(3 * SECOND - 1);
    assert.deepEqual(lines, []);
    clock.advance(10 * SECOND);
    const expected = [3, 6, 12].map((s) => `Still compiling a, for ${s} s`);
    assert.deepEqual(lines, expected);
    if (fails) {
      reject(new Error("no"));
      await assert.rejects(told, /no/);
    } else {
      resolve(7);
      assert.equal(await told, 7);
    }
    clock.advance(100 * SECOND);
    assert.deepEqual(lines, expected);
  }
});
