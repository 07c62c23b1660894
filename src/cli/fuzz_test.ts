/** Nodes, as real processes, whose peers send what is nearly right, while others are served. */
import assert from "node:assert/strict";
import { connect } from "../client/mod.ts";
import { Random } from "../core/random.ts";
import { fuzzedHttp } from "../gateway/testing_fuzz.ts";
import type { Role } from "../wire/roles.ts";
import { fuzzed } from "../wire/testing_fuzz.ts";
import { freePort } from "./demo/processes.ts";
import { Processes } from "./testing.ts";
import { fuzz } from "./testing_fuzz.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
const FRAMES = 3000;

Deno.test("peers that send nearly right frames end their own connections, and nobody else's", async () => {
  await using processes = new Processes();
  const env = { CLOCKWORK_TOKEN: TOKEN };
  const worker = await processes.worker(["worker-dummy"], env);
  const controller = await processes.controller([worker], env);
  const httpPort = freePort();
  const gateway = processes.start(["gateway", controller.address, "--port", `${httpPort}`], env);
  await gateway.printed(`${httpPort}`);
  const clockwork = await connect(controller.address, { token: TOKEN });
  const [model] = await clockwork.loadModel("resnet50_v2");
  await clockwork.ready();

  const random = new Random(1);
  const common = { frames: FRAMES, concurrency: 8 };
  const http = random.fork();
  const as = (role: Role) => {
    const own = random.fork();
    return () => fuzzed(own, role, TOKEN, 12);
  };
  let fuzzing = true;
  const attacks = Promise.all([
    fuzz({ ...common, port: controller.port, next: as("client") }),
    fuzz({ ...common, port: worker.port, next: as("controller") }),
    fuzz({ ...common, port: httpPort, next: () => fuzzedHttp(http, ["resnet50_v2"], 3) }),
  ]).finally(() => fuzzing = false);
  let served = 0;
  while (fuzzing || served < 20) {
    assert.equal((await clockwork.infer(model!, null)).length, model!.outputBytes);
    served++;
  }
  for (const counts of await attacks) {
    assert.ok(counts.frames >= FRAMES && counts.connections > 100, JSON.stringify(counts));
    assert.equal(counts.hung, 0);
    assert.equal(counts.refused, 0);
  }
  // Nothing of theirs has stayed.
  assert.deepEqual((await clockwork.ls()).map(({ id }) => id), [model!.id]);
  await clockwork.close();
  assert.equal((await fetch(`http://localhost:${httpPort}/v2/health/live`)).status, 200);
  for (const process of [gateway, controller.process, worker.process]) {
    process.signal("SIGTERM");
    const { code, stdout, stderr } = await process.ended;
    assert.equal(code, 0);
    assert.doesNotMatch(stdout + stderr, /error while serving|internal error|Uncaught/);
  }
});
