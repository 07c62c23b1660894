/** `clockwork client` as a user calls it: what it says of workloads, and of what is wrong with a call. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { workloads } from "../client/workloads/registry.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));

async function client(args: readonly string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-net",
      "--allow-read",
      "--allow-env",
      "--allow-sys",
      MAIN,
      "client",
      ...args,
    ],
    env: { NO_COLOR: "1", AZURE_TRACE_DIR: "", CLOCKWORK_MODEL_DIR: "", ...env },
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("client -h lists every workload with its parameters and an example", async () => {
  const { code, stdout } = await client(["-h"]);
  assert.equal(code, 0);
  for (const { name, parameters, example } of workloads) {
    assert.match(stdout, new RegExp(`^  ${name}( |$)`, "m"));
    assert.ok(
      stdout.includes(`e.g. clockwork client 127.0.0.1 ${[name, ...example].join(" ")}\n`),
      name,
    );
    for (const [parameter, { fallback }] of Object.entries(parameters)) {
      const shown = fallback === null ? parameter : `[${parameter}=${fallback}]`;
      assert.match(stdout, new RegExp(`^  ${name} .*${shown.replace(/[[\]]/g, "\\$&")}`, "m"));
      assert.ok(stdout.includes(`\n      ${parameter}: `), `${name} ${parameter}`);
    }
  }
  const workloadHelp = stdout.slice(stdout.indexOf("Workloads:")).split("\n");
  assert.deepEqual(workloadHelp.filter((line) => !/^ {2}\S/.test(line) && line.length > 96), []);
});

Deno.test("a wrong parameter is named, and answered with 2, before anything is connected", async () => {
  const wrong: [string, RegExp][] = [
    ["azure", /^error: workload `azure`: AZURE_TRACE_DIR is not set: set it to/],
    ["azure 1 1 1 9", /^error: workload `azure`: parameter memory_load_factor is "9", expected a/],
    [
      "poisson-open-loop 5",
      /`poisson-open-loop`: parameter rate is missing; usage: num_models rate/,
    ],
    ["slo-exp-1 resnet50_v2 5 poisson 5 9 2 1 add 1", /slo-factor is "1", expected less than 0/],
    ["slo-exp-1 no-such-model 5 poisson 5 2 9 1 add 1", /no model `no-such-model` in /],
  ];
  for (const [text, message] of wrong) {
    const { code, stderr, stdout } = await client(["127.0.0.1", ...text.split(" ")]);
    assert.equal(code, 2, text);
    assert.match(stderr, message);
    assert.equal(stdout, "");
  }
});

Deno.test("a step down is a parameter, not an option", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = `127.0.0.1:${listener.addr.port}`;
  listener.close();
  const text = "slo-exp-1 resnet50_v2 5 poisson 5 9 2 -2 add 1";
  const { code, stderr } = await client([address, ...text.split(" "), "--wait", "1ms"]);
  assert.equal(code, 1, stderr);
  assert.match(stderr, /refused the connection/);
});
