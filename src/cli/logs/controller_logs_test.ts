/** What a controller leaves in its logs that does not end as it should. */
import assert from "node:assert/strict";
import { type Process, Processes } from "../testing.ts";

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
    const told = sumOf(client, "succeeded");
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

Deno.test("a controller that is told twice to end has logged what it refused until then", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const worker = await processes.worker();
    const controller = await processes.controller([worker], { CLOCKWORK_LOG_DIR: directory });
    const client = processes.start([
      ...["client", controller.address, "poisson-open-loop", "1", "200"],
      ...["--interval", "100ms", "--json"],
    ]);
    await client.printed(/"succeeded":[1-9]/);
    // What runs is waited for, and this one will not end; what comes meanwhile is refused.
    worker.process.signal("SIGSTOP");
    await printedAnew(client, /"succeeded":0,/);
    controller.process.signal("SIGINT");
    await controller.process.printed("Shutting down: ");
    await printedAnew(client, /"failed":[1-9]/);
    const told = sumOf(client, "failed");
    controller.process.signal("SIGTERM");
    assert.equal((await controller.process.ended).code, 130);
    const text = await Deno.readTextFile(`${directory}/clockwork_request_log.tsv`);
    const rows = text.trimEnd().split("\n").slice(1).map((line) => line.split("\t"));
    assert.ok(text.endsWith("\n") && rows.every(({ length }) => length === 12));
    const refused = rows.filter((row) => row[2] !== "0").length;
    assert.ok(refused >= told, `${refused} of ${told}`);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

/** Waits until a process prints something that it may have printed before. */
async function printedAnew(process: Process, what: RegExp): Promise<void> {
  let ended = false;
  process.ended.then(() => ended = true);
  const { length } = process.stdout;
  while (!what.test(process.stdout.slice(length))) {
    assert.ok(!ended, process.stderr);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Requests that a client has told of until now, as succeeded or failed. */
function sumOf({ stdout }: Process, what: "succeeded" | "failed"): number {
  const counts = stdout.matchAll(new RegExp(`"type":"interval".*?"${what}":(\\d+)`, "g"));
  const sum = [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
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
