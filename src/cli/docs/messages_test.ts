/** Keeps docs/troubleshooting.md true: the messages that it explains must be those that are printed. */
import assert from "node:assert/strict";

const ROOT = new URL("../../../", import.meta.url);

/** Printed by Deno and Dawn, not by Clockwork. */
const OTHERS = [
  "Requires … access to …",
  "Warning: Vulkan shaderUniform*ArrayDynamicIndexing required",
];

/** All sources but tests, with strings that are put together over several lines as one. */
function sources(folder: URL): string {
  return [...Deno.readDirSync(folder)].map(({ name, isDirectory }) => {
    if (isDirectory) return sources(new URL(`${name}/`, folder));
    if (!name.endsWith(".ts") || /test/.test(name)) return "";
    return Deno.readTextFileSync(new URL(name, folder));
  }).join("\n").replace(/["'`] \+\s+["'`]/g, "");
}

/** The messages that the first column of a page's tables shows as code. */
function messagesOf(page: string): string[] {
  return [...page.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell]) =>
    [...cell!.matchAll(/(`+)(.+?)\1(?!`)/g)].map(([, , message]) => message!)
  );
}

/** What of a message is the same whenever it is printed: neither … nor names such as HOST:PORT nor numbers. */
function constantParts(message: string): string[] {
  return message.split(/…|: |\b[A-Z]+\b|\d+|["`]/).map((part) => part.replace(/^\W+|\W+$/g, ""))
    .filter((part) => part.length >= 6);
}

Deno.test("docs/troubleshooting.md explains messages that there are", () => {
  const printed = sources(new URL("src/", ROOT));
  const messages = messagesOf(Deno.readTextFileSync(new URL("docs/troubleshooting.md", ROOT)))
    .filter((message) => !OTHERS.includes(message));
  assert.ok(messages.length > 20, `only ${messages.length} messages were found`);
  const gone = messages.filter((message) => {
    const parts = constantParts(message);
    return parts.length === 0 || !parts.every((part) => printed.includes(part));
  });
  assert.deepEqual(gone, []);
});

Deno.test("the constant parts of messages are found", () => {
  const page = "| a `no model NAME in …: it is not there` | `x` |\n| ``the `y` is gone`` |  |\n";
  assert.deepEqual(messagesOf(page), ["no model NAME in …: it is not there", "the `y` is gone"]);
  assert.deepEqual(constantParts(messagesOf(page)[0]!), ["no model", "it is not there"]);
});
