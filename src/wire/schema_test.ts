import assert from "node:assert/strict";
import { MAX_TIME_NS } from "../core/clock.ts";
import {
  type Check,
  dimension,
  HeaderError,
  list,
  nanoseconds,
  nonNegative,
  optionalText,
  record,
  secret,
  text,
  uint,
} from "./schema.ts";

const notNumbers = [null, undefined, "1", true, [], [1], {}, NaN, Infinity, -Infinity];
const notTexts = [null, undefined, 1, true, [], ["a"], {}];

/** What is taken is returned as it is; what is refused is named with what was expected. */
function takes<T>(
  check: Check<T>,
  good: readonly unknown[],
  bad: readonly unknown[],
  expected: string,
): void {
  for (const value of good) assert.equal(check(value, "x"), value);
  for (const value of bad) {
    assert.throws(() => check(value, "x"), (error) => {
      assert.ok(error instanceof HeaderError);
      assert.ok(error.message.startsWith(`x must be ${expected}`), error.message);
      return true;
    });
  }
}

Deno.test("numbers are taken up to their bounds", () => {
  const max = 2 ** 32 - 1;
  takes(uint(), [0, 1, max], [...notNumbers, -1, 0.5, max + 1], `an integer from 0 to ${max}`);
  takes(uint(7), [0, 7], [8], "an integer from 0 to 7");
  takes(
    dimension,
    [-1, 0, 2 ** 53 - 1],
    [...notNumbers, -2, 0.5, 2 ** 53],
    "a list of integers from -1",
  );
  takes(
    nanoseconds,
    [0, -0.5, MAX_TIME_NS, -MAX_TIME_NS],
    [...notNumbers, MAX_TIME_NS + 256, -MAX_TIME_NS - 256],
    "a number of nanoseconds within 36 years",
  );
  takes(
    nonNegative,
    [0, 0.5, Number.MAX_VALUE],
    [...notNumbers, -1e-9],
    "a number that is not negative",
  );
});

Deno.test("texts are taken up to their length, and a secret is not repeated", () => {
  takes(text(3), ["", "abc", "é𝄞"], [...notTexts, "abcd", "é𝄞𝄞"], "text of at most 3 characters");
  takes(
    optionalText(3),
    [undefined, "", "abc"],
    [...notTexts.filter((value) => value !== undefined), "abcd"],
    "text of at most 3 characters",
  );
  const check = secret(5);
  assert.equal(check("horse", "x"), "horse");
  for (const nothing of [undefined, null]) assert.equal(check(nothing, "x"), "");
  for (const wrong of ["horses", 5, ["horse"], { length: 1 }]) {
    assert.throws(() => check(wrong, "x"), { message: "x must be text of at most 5 characters" });
  }
  // What is shown of others' words is short.
  assert.throws(() => text(3)("a".repeat(5000), "x"), (error: HeaderError) => {
    return error.message.length < 150;
  });
});

Deno.test("each value of a list is checked, and its length", () => {
  const check = list(uint(9), 2);
  takes(check, [[], [1, 9]], [null, {}, "ab", [1, 2, 3], { length: 0 }], "a list of at most 2");
  takes(check, [], [[1, 10], [NaN], [undefined]], "an integer from 0 to 9");
});

Deno.test("each field of a map is checked, and others are ignored", () => {
  const check = record({ a: uint(), inner: record({ b: text(1) }), maybe: optionalText(1) });
  takes(
    check,
    [{ a: 1, inner: { b: "" } }, { a: 1, inner: { b: "", c: 1 }, maybe: "", d: [] }],
    [null, undefined, 1, "a", []],
    "a map",
  );
  const wrong: [unknown, RegExp][] = [
    [{ inner: { b: "" } }, /^a must be an integer .*, got undefined$/],
    [{ a: null, inner: { b: "" } }, /^a must be .*, got null$/],
    [{ a: 1, inner: [] }, /^inner must be a map, got an object$/],
    [{ a: 1, inner: { b: 5 } }, /^b must be text/],
    [{ a: 1, inner: { b: "" }, maybe: null }, /^maybe must be text/],
  ];
  for (const [value, message] of wrong) assert.throws(() => check(value, "x"), { message });
});
