import assert from "node:assert/strict";
import { join } from "node:path";
import { generateModels } from "../../testdata/generate.ts";
import { writeModel } from "../worker/onnx/testing.ts";
import type { Figure } from "./profile/benchmark.ts";
import type { Check } from "./profile/check.ts";
import { freePort } from "./demo/processes.ts";
import { Processes } from "./testing.ts";

async function inDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = Deno.makeTempDirSync();
  try {
    await body(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

Deno.test("profile check fails and says what to do when the models are missing", () =>
  inDirectory(async (directory) => {
    await using processes = new Processes();
    const missing = join(directory, "models");
    const args = ["profile", "check", "-p", `${freePort()}`];
    const env = { CLOCKWORK_MODEL_DIR: missing };
    const { code, stdout, stderr } = await processes.start(args, env).ended;
    assert.equal(code, 1, stdout + stderr);
    assert.match(stdout, /✘ Model directory: .* cannot be listed\n {6}→ mkdir -p /);
    assert.match(stderr, /error: not fit: Model directory/);
    assert.ok(!stdout.includes("Benchmark") && !stdout.includes("\x1b"), stdout);
  }));

Deno.test("profile measures what it can, and tells programs in JSON", () =>
  inDirectory(async (directory) => {
    await using processes = new Processes();
    const [, onnx] = [...generateModels()].find(([name]) => name.includes("mlp"))!;
    writeModel(directory, "mlp", onnx);
    const port = freePort();
    const env = { CLOCKWORK_MODEL_DIR: directory, CLOCKWORK_TOKEN: "0123456789abcdef" };
    const args = ["profile", "--json", "-p", `${port}`];
    const { code, stdout, stderr } = await processes.start(args, env).ended;
    assert.equal(code, 0, stdout + stderr);
    const { checks, figures } = JSON.parse(stdout) as { checks: Check[]; figures: Figure[] };
    const level = (name: string) => checks.find((check) => check.name === name)?.level;
    for (const name of ["Model directory", "Token", `Port ${port}`]) {
      assert.equal(level(name), "ok", name);
    }
    for (const name of ["Timers", "Loopback", "Dawn", "Deno's WebGPU", "Worker's device"]) {
      assert.match(level(name)!, /^(ok|warning)$/, name);
    }
    assert.doesNotMatch(stdout, /0123456789abcdef/);
    for (const start of ["Codec, a request", "Codec, 602 KB", "Scheduler", "Device, batch of 4"]) {
      const found = figures.find(({ name }) => name.startsWith(start));
      assert.ok(found !== undefined && found.value > 0, `${start}: ${JSON.stringify(found)}`);
    }
  }));

Deno.test("profile refuses what it does not know", async () => {
  await using processes = new Processes();
  const { code, stderr } = await processes.start(["profile", "chek"]).ended;
  assert.equal(code, 2);
  assert.match(stderr, /Allowed choices are check/);
});
