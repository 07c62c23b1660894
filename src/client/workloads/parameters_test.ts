import assert from "node:assert/strict";
import { model, type Parameter, ParameterError, parseParameters, usage } from "./parameters.ts";
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

Deno.test("each workload's example is a valid call of it", () => {
  for (const { name, example, plan } of workloads) {
    assert.equal(findWorkload(name).name, name);
    assert.ok(plan(example.split(" "), ["resnet50_v2"]).uses.length > 0);
  }
});
