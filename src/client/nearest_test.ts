import assert from "node:assert/strict";
import { nearest } from "./nearest.ts";

Deno.test("the name that may have been meant is the nearest, if one is near at all", () => {
  const names = ["simple", "simple-slo-factor", "spam", "single-spam", "azure"];
  const meant: [string, string | null][] = [
    ["simple", "simple"],
    ["simpel", "simple"],
    ["SIMPLE", "simple"],
    ["spma", null],
    ["spa", "spam"],
    ["single-span", "single-spam"],
    ["azur", "azure"],
    ["x", null],
    ["", null],
    ["poisson", null],
    ["simple-slofactor", "simple-slo-factor"],
  ];
  for (const [typed, name] of meant) assert.equal(nearest(typed, names), name, typed);
  // The first of those that are equally near; a novel costs no time.
  assert.equal(nearest("ab", ["ax", "bb"]), "ax");
  assert.equal(nearest("a".repeat(10_000_000), names), null);
  assert.equal(nearest("simple", []), null);
});
