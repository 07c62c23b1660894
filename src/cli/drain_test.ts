/** What SIGTERM does to nodes that have something to do, as real processes. */
import assert from "node:assert/strict";
import { connect } from "../client/mod.ts";
import { Processes } from "./testing.ts";

Deno.test("SIGTERM under load: controller and worker finish what they have, and end with 0", async () => {
  await using processes = new Processes();
  const worker = await processes.worker();
  const controller = await processes.controller([worker]);
  const clockwork = await connect(controller.address);
  const [model] = await clockwork.loadModel("resnet50_v2");
  await clockwork.ready();
  const asked = Array.from({ length: 200 }, () => clockwork.infer(model!, null));
  // Answers come in order: with this one, all have been taken, and most still wait.
  await asked[0];
  controller.process.signal("SIGTERM");
  const settled = await Promise.allSettled(asked);
  assert.deepEqual(settled.filter(({ status }) => status === "rejected"), []);
  assert.equal((await controller.process.ended).code, 0);
  await clockwork.close();
  worker.process.signal("SIGTERM");
  assert.equal((await worker.process.ended).code, 0);
});

Deno.test("a second signal ends a controller at once that waits for its worker", async () => {
  await using processes = new Processes();
  const worker = await processes.worker();
  const controller = await processes.controller([worker]);
  const clockwork = await connect(controller.address);
  const [model] = await clockwork.loadModel("resnet50_v2");
  await clockwork.ready();
  await clockwork.infer(model!, null);
  worker.process.signal("SIGSTOP");
  const hangs = clockwork.infer(model!, null).catch(() => {});
  await assert.rejects(clockwork.evict(model!), "the inference has been taken");
  controller.process.signal("SIGTERM");
  await controller.process.printed("Shutting down: 1 requests are being finished, for 10 s");
  // What comes right after the first counts as the same request.
  let over = false;
  const { ended } = controller.process;
  ended.then(() => over = true);
  while (!over) {
    try {
      controller.process.signal("SIGTERM");
    } catch {
      // It has ended meanwhile.
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const { code } = await ended;
  assert.equal(code, 130);
  await hangs;
  await clockwork.close();
});
