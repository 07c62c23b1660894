/** A cluster that has a token, as real processes. */
import assert from "node:assert/strict";
import { connect } from "../client/mod.ts";
import { freePort } from "./demo/processes.ts";
import { HOST, Processes } from "./testing.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";

Deno.test("with a token, nodes that have it work together, and others are told why not", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const file = `${directory}/token`;
    await Deno.writeTextFile(file, `${TOKEN}\n`);
    const worker = await processes.worker(["worker-dummy", "--token-file", file]);

    const where = ["--host", HOST, "-p", `${freePort()}`];
    const without = await processes.start(["controller", "INFER4", worker.address, ...where]).ended;
    assert.equal(without.code, 1);
    assert.match(without.stderr, /this node asks for a token: set CLOCKWORK_TOKEN or --token-file/);

    const controller = await processes.controller([worker], { CLOCKWORK_TOKEN: TOKEN });
    const clientArgs = [
      "client",
      controller.address,
      "simple",
      "--duration",
      "1s",
      "--wait",
      "1ms",
    ];
    const [wrong, right] = await Promise.all([
      processes.start(clientArgs, { CLOCKWORK_TOKEN: TOKEN.toUpperCase() }).ended,
      processes.start([...clientArgs, "--token-file", file]).ended,
    ]);
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /the token is not the right one/);
    assert.equal(right.code, 0, right.stderr);
    await assert.rejects(connect(controller.address), /this node asks for a token/);
    const clockwork = await connect(controller.address, { token: TOKEN });
    await clockwork.ls();
    await clockwork.close();

    for (const process of [controller.process, worker.process]) {
      process.signal("SIGTERM");
      assert.equal((await process.ended).code, 0);
    }
    const printed = [worker.process, controller.process].map((p) => p.stdout + p.stderr).join("") +
      wrong.stdout + wrong.stderr + right.stdout + right.stderr + without.stdout + without.stderr;
    assert.ok(!printed.toLowerCase().includes(TOKEN.slice(0, 8)), "no part of it is printed");
    assert.match(worker.process.stdout, /Refused a connection from .*: this node asks for a token/);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a token that could be guessed, or cannot be read, is refused without being told", async () => {
  await using processes = new Processes();
  const [short, missing] = await Promise.all([
    processes.start(["worker-dummy"], { CLOCKWORK_TOKEN: "hunter2" }).ended,
    processes.start(["client", "localhost", "simple", "--token-file", "/no/such/file"]).ended,
  ]);
  assert.deepEqual([short.code, missing.code], [2, 2]);
  assert.match(short.stderr, /the token of CLOCKWORK_TOKEN has 7 characters, expected 16 to 1024/);
  assert.ok(!short.stderr.includes("hunter2"));
  assert.match(missing.stderr, /cannot read the token: .*\/no\/such\/file/);
});
