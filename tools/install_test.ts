import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const flagsOf = (command: string) => [...command.matchAll(/--(allow|unstable)-[a-z]+/g)].sort();

Deno.test("the installed command runs from any folder, with the permissions of the task", async () => {
  const { tasks } = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.json")));
  const flags = (name: string) => flagsOf(tasks[name].command).map(([flag]) => flag);
  assert.ok(flags("clockwork").length > 0);
  assert.deepEqual(flags("install"), flags("clockwork"));

  const directory = await Deno.makeTempDir();
  try {
    const env = { DENO_INSTALL_ROOT: directory, NO_COLOR: "1" };
    const run = async (path: string, args: string[], cwd: string) => {
      const { code, stdout, stderr } = await new Deno.Command(path, { args, cwd, env }).output();
      const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      assert.equal(code, 0, text(stderr));
      return text(stdout);
    };
    await run(Deno.execPath(), ["task", "install"], ROOT);
    const name = Deno.build.os === "windows" ? "clockwork.cmd" : "clockwork";
    // The command starts whichever Deno is first in PATH.
    const separator = Deno.build.os === "windows" ? ";" : ":";
    Object.assign(env, {
      PATH: [join(Deno.execPath(), ".."), Deno.env.get("PATH")].join(separator),
    });
    const help = await run(join(directory, "bin", name), ["-h"], directory);
    assert.match(help, /^Usage: clockwork /);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
