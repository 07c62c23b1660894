/** What SIGTERM does to nodes that have something to do, as real processes. */
import assert from "node:assert/strict";
import { connect } from "../client/mod.ts";
import { SECOND } from "../core/clock.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { drained } from "./drain.ts";
import { Processes } from "./testing.ts";

Deno.test("what does not end is waited for until the limit, and no longer", async () => {
  for (const [endsNs, afterNs, left] of [[Infinity, 10 * SECOND, 3], [2 * SECOND, 2 * SECOND, 0]]) {
    const clock = new VirtualClock();
    const said: string[] = [];
    const pending = () => clock.now() >= endsNs! ? 0 : 3;
    let doneNs: number | null = null;
    drained(clock, 10 * SECOND, "requests", pending, (line) => said.push(line))
      .then(() => doneNs = clock.now());
    while (doneNs === null && clock.now() < 20 * SECOND) {
      clock.advance(SECOND / 100);
      // Its wait goes on in a turn of the event loop.
      await Promise.resolve();
      await Promise.resolve();
    }
    assert.ok(doneNs! >= afterNs! && doneNs! < afterNs! + SECOND, `${doneNs}`);
    assert.deepEqual(said, [
      "Shutting down: 3 requests are being finished, for 10 s",
      ...(left === 0 ? [] : ["3 requests could not be finished"]),
    ]);
  }
});

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
