/** Controllers with a state directory, as processes: what is left when they are killed. */
import assert from "node:assert/strict";
import { connect, SECOND } from "../client/mod.ts";
import { openRegistryFile } from "./registry_file.ts";
import { HOST, Processes } from "./testing.ts";

const OPTIONS = { deadlineNs: 30 * SECOND };

Deno.test("a controller that was killed serves again, with the same models, when it is started", async () => {
  await using processes = new Processes();
  const state = await Deno.makeTempDir();
  try {
    const worker = await processes.worker();
    const first = await processes.controllerOf(worker.address, ["--state-dir", `${state}/c`]);
    const client = await connect(first.address);
    const models = await client.loadModel("resnet50_v2", 2);
    await client.ready();
    await client.infer(models[1]!, null, OPTIONS);
    await client.close();

    first.process.kill();
    await first.process.ended;
    const args = ["controller", "INFER4", worker.address, "--host", HOST, "-p", `${first.port}`];
    const second = processes.start([...args, "--state-dir", `${state}/c`]);
    await second.printed(" * Admitting inference requests");
    assert.match(second.stdout, /\(Startup-3\) Restoring 2 models .* from the registry/);
    assert.doesNotMatch(second.stdout, /LoadModelFromDisk/, "the worker had them");
    const again = await connect(first.address);
    assert.deepEqual((await again.ls()).map(({ id }) => id), models.map(({ id }) => id));
    await again.infer(models[0]!, null, OPTIONS);
    await again.close();

    const third = await processes.start([...args, "--state-dir", `${state}/c`]).ended;
    assert.equal(third.code, 1);
    assert.match(third.stderr, /lock is locked: another controller uses this state directory/);
  } finally {
    await Deno.remove(state, { recursive: true });
  }
});

Deno.test("a registry's file is replaced whole, is nobody else's to read, and is kept when damaged", async () => {
  const state = await Deno.makeTempDir();
  try {
    const file = openRegistryFile(`${state}/new/dir`);
    assert.equal(file.read(), null);
    for (const contents of ["one", "another"]) {
      const problem = await new Promise((resolve) => file.write(contents, resolve));
      assert.equal(problem, "");
      assert.equal(file.read(), contents);
    }
    if (Deno.build.os !== "windows") {
      assert.equal(Deno.statSync(file.name).mode! & 0o777, 0o600);
    }
    const copy = file.setAside();
    assert.match(copy, /registry\..*\.bad$/);
    assert.equal(Deno.readTextFileSync(copy), "another");
    assert.equal(file.read(), null);
    Deno.removeSync(`${state}/new`, { recursive: true });
    const problem = await new Promise((resolve) => file.write("x", resolve));
    assert.match(String(problem), /No such file/);
  } finally {
    await Deno.remove(state, { recursive: true });
  }
});

Deno.test("a state directory that cannot be is an error that names it", () => {
  assert.throws(
    () => openRegistryFile("/proc/none"),
    /cannot use the state directory \/proc\/none/,
  );
});
