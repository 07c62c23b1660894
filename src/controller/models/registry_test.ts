import assert from "node:assert/strict";
import { MemoryRegistryFile } from "./memory_registry.ts";
import { Registry } from "./registry.ts";
import { formatRegistry, parseRegistry, type RegistryContents } from "./registry_format.ts";
import { FACTS, SIGNATURE } from "../test_rig.ts";

const CONTENTS: RegistryContents = {
  nextId: 7,
  groups: [
    { firstId: 0, copies: 2, path: "a\nb", chosen: null, facts: { ...FACTS, ...SIGNATURE } },
    { firstId: 3, copies: 1, path: "c", chosen: ["w:1"], facts: { ...FACTS, ...SIGNATURE } },
  ],
  loads: [{
    key: "k",
    asked: "[]",
    answer: { model_id: 0, copies_created: 2, input_size: 12, output_size: 8 },
  }],
  unloads: [{ key: "u", asked: "[1]", answer: true }],
  removed: ["uploads/net/0123456789abcdef"],
};

Deno.test("what is kept is read again", () => {
  assert.deepEqual(parseRegistry(formatRegistry(CONTENTS)), CONTENTS);
});

Deno.test("whatever byte is damaged, wherever it is cut, the registry is not believed", () => {
  const text = formatRegistry(CONTENTS);
  for (let i = 0; i < text.length; i += 3) {
    assert.throws(() => parseRegistry(text.slice(0, i)), /RegistryError/);
    const damaged = text.slice(0, i) + (text[i] === "x" ? "y" : "x") + text.slice(i + 1);
    assert.throws(() => parseRegistry(damaged), /RegistryError/);
  }
  assert.throws(
    () => parseRegistry(text.replace("registry 1", "registry 2")),
    /it is a clockwork-registry 2, and this controller reads clockwork-registry 1/,
  );
});

Deno.test("a registry that is whole but makes no sense names the line", () => {
  const bad = { ...CONTENTS, groups: [{ ...CONTENTS.groups[0]!, copies: -1 }] };
  assert.throws(() => parseRegistry(formatRegistry(bad)), /line 3: copies must be an integer/);
});

Deno.test("damaged contents are kept elsewhere, and said to be", () => {
  const file = new MemoryRegistryFile();
  const lines: string[] = [];
  const registry = new Registry(file, (line) => lines.push(line), () => CONTENTS);
  assert.equal(registry.read(), null);
  assert.deepEqual(lines, [], "there is none yet");
  file.contents = "rubbish";
  assert.equal(registry.read(), null);
  assert.equal(file.aside, "rubbish");
  assert.deepEqual(lines, [
    "The registry in memory cannot be read: its first line is not that of a registry",
    "It is kept as a copy in memory",
  ]);
});

/** A file whose writes end when the test says so. */
function slowRegistry() {
  const ends: ((problem: string) => void)[] = [];
  const lines: string[] = [];
  const file = {
    name: "FILE",
    read: () => null,
    write: (_: string, done: (problem: string) => void) => void ends.push(done),
    setAside: () => "",
  };
  const registry = new Registry(file, (line) => lines.push(line), () => CONTENTS);
  const told: string[] = [];
  const change = (name: string) => {
    registry.change();
    registry.flush(() => told.push(name));
  };
  return { registry, ends, lines, told, change };
}

Deno.test("changes that come while one is written are written together, and wait for that", () => {
  const { registry, ends, told, change } = slowRegistry();
  change("a");
  change("b");
  change("c");
  registry.flush(() => told.push("d"));
  assert.equal(ends.length, 1);
  ends[0]!("");
  assert.deepEqual(told, ["a"]);
  assert.equal(ends.length, 2);
  ends[1]!("");
  assert.deepEqual(told, ["a", "b", "c", "d"]);
  registry.flush(() => told.push("e"));
  assert.equal(told.at(-1), "e", "nothing has changed");
  assert.equal(ends.length, 2);
});

Deno.test("a write that fails is said once, keeps nobody waiting, and is tried at the next change", () => {
  const { registry, ends, lines, told, change } = slowRegistry();
  change("a");
  ends[0]!("disk full");
  assert.deepEqual(told, ["a"]);
  change("b");
  ends[1]!("disk full");
  assert.deepEqual(lines, ["The registry FILE cannot be written: disk full"]);
  registry.flush(() => told.push("c"));
  ends[2]!("");
  assert.deepEqual(told, ["a", "b", "c"]);
  assert.equal(lines[1], "The registry FILE can be written again");
});
