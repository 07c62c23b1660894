/** What a controller leaves in its logs that does not end as it should. */
import assert from "node:assert/strict";
import { type Process, Processes } from "./testing.ts";

Deno.test("a controller that is killed has logged all but its last second", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const worker = await processes.worker();
    const controller = await processes.controller([worker], { CLOCKWORK_LOG_DIR: directory });
    const client = processes.start([
      ...["client", controller.address, "simple"],
      ...["--interval", "100ms", "--json"],
    ]);
    await client.printed(/"succeeded":[1-9]/);
    const told = succeeded(client);
    // The first write after this may have begun before it; the second holds all that was answered.
    const path = `${directory}/clockwork_request_log.tsv`;
    let ended = false;
    controller.process.ended.then(() => ended = true);
    await grown(path, () => ended);
    await grown(path, () => ended);
    controller.process.signal("SIGKILL");
    await controller.process.ended;
    for (const name of ["request", "action"]) {
      const text = await Deno.readTextFile(`${directory}/clockwork_${name}_log.tsv`);
      assert.ok(text.endsWith("\n"), "the last row is whole");
      const [header, ...rows] = text.trimEnd().split("\n").map((line) => line.split("\t"));
      assert.ok(rows.every(({ length }) => length === header!.length));
      // A batch may answer several requests, here two at most.
      assert.ok(rows.length >= (name === "request" ? told : told / 2), `${rows.length} of ${told}`);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a controller that is told twice to end has logged what it refused in its last moment", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const worker = await processes.worker();
    const controller = await processes.controller([worker], { CLOCKWORK_LOG_DIR: directory });
    const client = processes.start([
      ...["client", controller.address, "simple", "--interval", "100ms", "--json"],
    ]);
    await client.printed(/"succeeded":[1-9]/);
    // What is asked from now on stays unanswered, and a worker that does not hang up delays the end.
    worker.process.signal("SIGSTOP");
    const { length } = client.stdout;
    while (!/"succeeded":0,/.test(client.stdout.slice(length))) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    controller.process.signal("SIGINT");
    controller.process.signal("SIGTERM");
    assert.equal((await controller.process.ended).code, 130);
    const rows = (await Deno.readTextFile(`${directory}/clockwork_request_log.tsv`))
      .trimEnd().split("\n").slice(1).map((line) => line.split("\t"));
    assert.ok(rows.every(({ length }) => length === 12));
    assert.deepEqual(rows.slice(-2).map((row) => row[2]), ["1", "1"]);
    assert.equal(rows.at(-3)![2], "0");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

/** Answers that a client has told of until now. */
function succeeded({ stdout }: Process): number {
  let sum = 0;
  for (const [, count] of stdout.matchAll(/"type":"interval".*?"succeeded":(\d+)/g)) {
    sum += Number(count);
  }
  assert.ok(sum > 0, stdout);
  return sum;
}

/** Waits until a file has become longer. */
async function grown(path: string, over: () => boolean): Promise<void> {
  const { size } = await Deno.stat(path);
  while ((await Deno.stat(path)).size === size) {
    assert.ok(!over(), "the controller has ended");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
