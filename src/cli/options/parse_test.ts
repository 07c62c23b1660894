import assert from "node:assert/strict";
import { MS, SECOND } from "../../core/clock.ts";
import { parseDuration, parseInteger } from "./parse.ts";

Deno.test("durations have a unit, or are seconds", () => {
  assert.equal(parseDuration("20s"), 20 * SECOND);
  assert.equal(parseDuration("1.5"), 1.5 * SECOND);
  assert.equal(parseDuration("250ms"), 250 * MS);
  assert.equal(parseDuration("2m"), 120 * SECOND);
  assert.equal(parseDuration("1h"), 3600 * SECOND);
  for (const wrong of ["", "0", "0s", "-1s", "20x", "s", "1e3", "9999999h", "NaN"]) {
    assert.throws(() => parseDuration(wrong), /Expected a time such as 20s/, wrong);
  }
});

Deno.test("whole numbers must be in range", () => {
  assert.equal(parseInteger(0, 10)("10"), 10);
  for (const wrong of ["11", "-1", "1.5", "", "0x1", "ten"]) {
    assert.throws(() => parseInteger(0, 10)(wrong), /from 0 to 10/, wrong);
  }
});
