/** Workers that are listed in a file, or connect on their own, as real processes. */
import assert from "node:assert/strict";
import { connect } from "../client/mod.ts";
import { Processes } from "./testing.ts";

Deno.test("a controller without workers takes those that are listed later, and those that join", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const list = `${directory}/workers.txt`;
    await Deno.writeTextFile(list, "# none yet\n");
    const controller = await processes.controllerOf(`@${list},join`);
    await controller.process.printed("No worker is connected yet");
    const clockwork = await connect(controller.address);
    await assert.rejects(clockwork.loadModel("resnet50_v2"), /no worker is connected/);

    const listed = await processes.worker();
    await Deno.writeTextFile(list, `${listed.address}\n`);
    controller.process.signal("SIGHUP");
    await controller.process.printed(`(${listed.address}) has come`);
    const [model] = await clockwork.loadModel("resnet50_v2");
    await clockwork.ready();
    await clockwork.infer(model!, null);

    const joining = processes.start(["worker-dummy", "--join", controller.address]);
    await controller.process.printed("Worker 1 serves with 1 GPUs");
    assert.ok(joining.stdout.includes(`Joined controller ${controller.address}\n`));
    await Deno.writeTextFile(list, "");
    controller.process.signal("SIGHUP");
    await listed.process.printed("it is not on the controller's list of workers any more");
    await controller.process.printed("Worker 0 (");
    await clockwork.infer(model!, null);
    await clockwork.close();

    joining.signal("SIGTERM");
    assert.equal((await joining.ended).code, 0);
    await controller.process.printed("Worker 1 (");
    controller.process.signal("SIGTERM");
    assert.equal((await controller.process.ended).code, 0);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a list takes no worker away that was named, and what is wrong with it is said once", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const list = `${directory}/workers.txt`;
    const [named, listed] = [await processes.worker(), await processes.worker()];
    await Deno.writeTextFile(list, listed.address);
    const { process } = await processes.controllerOf(`${named.address},@${list}`);
    await process.printed("Worker 1 1 GPUs");
    await Deno.writeTextFile(list, "not an address at all:x");
    for (let times = 1; times <= 3; times++) {
      process.signal("SIGHUP");
      await process.printed(new RegExp(`(Reading the lists of workers again[^]*){${times}}`));
    }
    await process.printed("its workers stay as they were");
    await Deno.writeTextFile(list, "");
    process.signal("SIGHUP");
    await process.printed(`Worker ${listed.address} is not listed any more`);
    assert.ok(process.stdout.includes(`@${list} can be read again`));
    assert.equal(process.stderr.split("cannot read the list of workers").length, 2);
    assert.ok(!process.stdout.includes(`Worker ${named.address} is not listed`));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a worker that joins is refused where the controller does not expect it, and tries on", async () => {
  await using processes = new Processes();
  const worker = await processes.worker();
  const controller = await processes.controllerOf(worker.address);
  const joining = processes.start(["worker-dummy", "--join", controller.address]);
  await joining.printed("this is a controller, which talks to a client, not to a worker");
  joining.signal("SIGTERM");
  const { code, stdout } = await joining.ended;
  assert.equal(code, 0);
  assert.ok(stdout.includes("it is tried again until it is there"), stdout);
});
