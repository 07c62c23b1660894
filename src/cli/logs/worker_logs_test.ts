/** A worker's own logs, as its configuration enables them. */
import assert from "node:assert/strict";
import { HOST, Processes } from "../testing.ts";

Deno.test("a worker that is told to logs its actions and their tasks, and all of them by its end", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const logs = `${directory}/made/if/missing`;
    await Deno.writeTextFile(
      `${directory}/worker.cfg`,
      "enable_task_telemetry = true\nenable_action_telemetry = true\n" +
        `telemetry_log_dir = ${JSON.stringify(logs)}\n`,
    );
    const worker = await processes.worker(["worker-dummy", "-c", `${directory}/worker.cfg`]);
    const controller = await processes.controller([worker], { CLOCKWORK_LOG_DIR: directory });
    const client = processes.start(["client", controller.address, "simple", "--duration", "500ms"]);
    assert.equal((await client.ended).code, 0);
    for (const { process } of [controller, worker]) {
      process.signal("SIGTERM");
      const { code, stderr } = await process.ended;
      assert.equal(code, 0, stderr);
    }
    assert.ok(worker.process.stdout.includes(
      `Logging actions to ${logs}/clockwork_worker_action_log.tsv\n` +
        `Logging tasks to ${logs}/clockwork_worker_task_log.tsv\n`,
    ));
    // What the controller has heard of went well here, and took as long as it was told.
    const told = (await readLog(`${directory}/clockwork_action_log.tsv`))
      .filter(({ action_type, status }) => action_type === "2" && status === "0");
    assert.ok(told.length > 0);
    const actions = await readLog(`${logs}/clockwork_worker_action_log.tsv`);
    const tasks = await readLog(`${logs}/clockwork_worker_task_log.tsv`);
    for (const { action_id, worker_exec_duration, batch_size } of told) {
      // The controller numbers its actions anew when its start-up is over.
      const action = actions.findLast((row) => row["action_id"] === action_id);
      assert.deepEqual([action?.["action_type"], action?.["status"]], ["2", "0"]);
      const exec = tasks.find((row) => row["action_id"] === action_id && row["task"] === "exec");
      assert.equal(exec?.["duration"], worker_exec_duration);
      assert.equal(exec?.["batch_size"], batch_size);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a worker that finds its port taken leaves the logs alone: they may be those of who has it", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const config = `${directory}/worker.cfg`;
    await Deno.writeTextFile(
      config,
      `enable_action_telemetry = true\ntelemetry_log_dir = ${
        JSON.stringify(`${directory}/logs`)
      }\n`,
    );
    const worker = await processes.worker(["worker-dummy", "-c", config]);
    const path = `${directory}/logs/clockwork_worker_action_log.tsv`;
    const { ino } = await Deno.stat(path);
    const again = ["worker-dummy", "-c", config, "--host", HOST, "-p", `${worker.port}`];
    const { code, stderr } = await processes.start(again).ended;
    assert.equal(code, 1);
    assert.match(stderr, /the port is in use/);
    assert.equal((await Deno.stat(path)).ino, ino);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a worker that cannot write its logs does not start, and says what to do", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const config = `${directory}/worker.cfg`;
    await Deno.writeTextFile(
      config,
      `enable_task_telemetry = true\ntelemetry_log_dir = ${JSON.stringify(`${config}/logs`)}\n`,
    );
    const { code, stdout, stderr } = await processes.start(["worker-dummy", "-c", config]).ended;
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^error: cannot write the log .*\/logs\/clockwork_worker_task_log\.tsv: .*; set telemetry_log_dir in the worker's configuration to a directory that can be written, or disable telemetry there\n$/,
    );
    assert.ok(!stdout.includes("listening"), stdout);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

/** The rows of a log, by column. */
async function readLog(path: string): Promise<Record<string, string>[]> {
  const [header, ...rows] = (await Deno.readTextFile(path)).trimEnd().split("\n")
    .map((line) => line.split("\t"));
  return rows.map((row) => Object.fromEntries(header!.map((name, i) => [name, row[i]!])));
}
