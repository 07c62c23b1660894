import assert from "node:assert/strict";
import {
  choice,
  flag,
  integer,
  model,
  type Parameter,
  ParameterError,
  parseParameters,
  positive,
  signed,
  usage,
} from "./parameters.ts";
import { findWorkload, workloads } from "./registry.ts";

const copies: Parameter<number> = {
  description: "how many",
  fallback: null,
  parse: (text) => {
    if (!/^\d+$/.test(text)) throw new Error("a whole number");
    return Number(text);
  },
};
const parameters = { copies, model: model("which", "resnet50_v2") };

function messageOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof ParameterError);
    return error.message;
  }
  return assert.fail("nothing was thrown");
}

Deno.test("parameters come in order, and those left out have their fallback", () => {
  assert.deepEqual(parseParameters(parameters, ["3"]), { copies: 3, model: "resnet50_v2" });
  assert.deepEqual(parseParameters(parameters, ["3", "vgg16"]), { copies: 3, model: "vgg16" });
  assert.equal(usage(parameters), "copies [model=resnet50_v2]");
});

Deno.test("a wrong, missing or extra parameter is named with what was expected", () => {
  assert.equal(
    messageOf(() => parseParameters(parameters, ["many"])),
    'parameter copies is "many", expected a whole number',
  );
  assert.match(messageOf(() => parseParameters(parameters, [])), /parameter copies is missing/);
  assert.match(
    messageOf(() => parseParameters(parameters, ["1", "a", "b"])),
    /unexpected parameter "b".*at most 2: copies \[model=resnet50_v2\]/,
  );
  assert.match(messageOf(() => parseParameters(parameters, ["1", ""])), /parameter model is ""/);
});

Deno.test("an unknown workload is refused with those there are and the nearest", () => {
  const message = messageOf(() => findWorkload("simpel"));
  assert.match(message, /unknown workload `simpel`; did you mean `simple`\?/);
  for (const { name } of workloads) assert.ok(message.includes(name));
});

Deno.test("each kind of parameter takes what it should, and says what it would take", () => {
  const kinds = {
    integer: integer("", null, 1, 10),
    positive: positive("", null, 100),
    signed: signed("", 100),
    choice: choice("", ["add", "mul"]),
    flag: flag("", false),
  };
  const good = [
    ["integer", "10", 10],
    ["positive", ".5", 0.5],
    ["positive", "1e2", 100],
    [
      "signed",
      "-2.5",
      -2.5,
    ],
    ["choice", "mul", "mul"],
    ["flag", "1", true],
  ] as const;
  for (const [kind, text, value] of good) assert.equal(kinds[kind].parse(text), value);
  const bad = [
    ["integer", ["0", "11", "1.5", "-1", "", " 1", "1e1", "0x1"], "a whole number from 1 to 10"],
    ["positive", ["0", "-1", "101", "x", "", "NaN", "Infinity", "1s"], "more than 0, at most 100"],
    ["signed", ["101", "-101", "", "--1", "NaN"], "a number from -100 to 100"],
    ["choice", ["ADD", "", "addmul"], "add or mul"],
    ["flag", ["2", "true", ""], "0 or 1"],
  ] as const;
  for (const [kind, texts, message] of bad) {
    for (const text of texts) {
      assert.match(
        messageOf(() => parseParameters({ it: kinds[kind] }, [text])),
        new RegExp(`^parameter it is ${JSON.stringify(text)}, expected .*${message}$`),
      );
    }
  }
});
