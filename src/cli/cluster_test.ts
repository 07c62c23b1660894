/** Workers, controller and clients as processes of their own, over TCP. */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { PROTOCOL_VERSION } from "../wire/messages.ts";
import { HOST, type Process, Processes } from "./testing.ts";

const MLP = fileURLToPath(new URL("../../testdata/models/mlp", import.meta.url));

function simple(address: string, ...more: string[]): string[] {
  return ["client", address, "simple", ...more];
}

interface Summary {
  readonly type: string;
  readonly requests: number;
  readonly succeeded: number;
  readonly failures: readonly unknown[];
}

/** What a client that ran with --json says at the end. */
function summaryOf(stdout: string): Summary {
  const lines = stdout.trimEnd().split("\n").map((line): Summary => JSON.parse(line));
  const summaries = lines.filter(({ type }) => type === "summary");
  assert.equal(summaries.length, 1, stdout);
  return summaries[0]!;
}

Deno.test("worker-dummy, controller and client serve every request, log it, and end when told", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const logs = `${directory}/made/if/missing`;
    const env = { CLOCKWORK_LOG_DIR: logs };
    const worker = await processes.worker(["worker-dummy", "-n", "2"]);
    const controller = await processes.controller([worker], env);
    const client = processes.start(simple(controller.address, "--duration", "1s", "--json"));
    await client.printed(/Clockwork initializing, retrying Controller initializing\n/);
    // Another controller cannot have the port, and leaves the logs alone.
    const twin = await processes.start([
      ...["controller", "INFER4", worker.address, "--host", HOST, "-p", `${controller.port}`],
    ], env).ended;
    assert.equal(twin.code, 1);
    assert.match(twin.stderr, /the port is in use/);

    const { code, stdout } = await client.ended;
    assert.equal(code, 0);
    const { requests: count, succeeded, failures } = summaryOf(stdout);
    assert.ok(count > 0);
    assert.deepEqual([succeeded, failures], [count, []]);

    controller.process.signal("SIGTERM");
    const ended = await controller.process.ended;
    assert.equal(ended.code, 0);
    assert.equal(ended.stderr, "");
    const resnet = /path=(.*\/resnet50_v2\/model)\n/.exec(ended.stdout)![1]!;
    const [beforeClient, rest] = ended.stdout.replaceAll(resnet, "MODEL")
      .split("(Startup-3) Awaiting LoadModel requests from clients\n");
    assert.equal(
      beforeClient,
      [
        "Starting Clockwork Controller",
        `Logging requests to ${logs}/clockwork_request_log.tsv`,
        `Logging actions to ${logs}/clockwork_action_log.tsv`,
        "ConcurrentInferAndLoadScheduler using:",
        "         default_slo=30000000000",
        "         latest_delta=10000000",
        "         schedule_ahead=10000000",
        "         max_allowable_exec_time=250000000",
        "         max_batch_size=8",
        "         generate_inputs=0",
        "         max_gpus=100",
        `IO service thread listening for clients on ${controller.address}`,
        `Connecting to worker ${worker.address}`,
        "Connection established",
        "(Startup) Running ControllerStartup",
        "(Startup-1) Bouncing LS and Infer requests until startup is complete",
        "(Startup-2) Querying current worker state",
        "Clockwork page_size=16777216",
        "Worker 0 2 GPUs 0 models",
        "GPU 0 21.5 GB (1376 pages) 0 loaded models",
        "GPU 1 21.5 GB (1376 pages) 0 loaded models",
        "",
        "",
      ].join("\n"),
    );
    assert.match(
      rest!,
      /^Client {2}--> Req0:LoadModel path=MODEL\n\(Startup-4\) LoadModelStage has begun\nWorker <-- {2}A0:LoadModelFromDisk model=0 \[0\.0, \d+\.\d\] MODEL\nWorker {2}--> R0:LoadModelFromDisk input=602112 output=4000 weights=112\.0 MB \(7 pages\) xfer=8\.4 b1=3\.3 b2=5\.3 b4=7\.5 b8=12\.4 duration=\d+\.\d\nClient <-- {2}Rsp0:LoadModel model_id=\[0->1\] input=602112 output=4000\nClient {2}--> Req1:LS\n/,
    );
    assert.ok(rest!.includes("\n * Admitting inference requests\nGPU handler [ 0 ] started\n"));

    worker.process.signal("SIGINT");
    const workerEnded = await worker.process.ended;
    assert.equal(workerEnded.code, 0);
    assert.match(workerEnded.stdout, /^Received A0:GetWorkerState\nSending R0:GetWorkerState:\n/m);
    assert.match(workerEnded.stdout, /^Received A0:LoadModelFromDisk model=0 \[0\.0, /m);
    assert.match(workerEnded.stdout, /^Controller .* is gone: .*shutting down$/m);

    const requests = await readLog(`${logs}/clockwork_request_log.tsv`);
    assert.equal(requests.length, count);
    assert.ok(requests.every(({ result, deadline_met }) => result === "0" && deadline_met === "1"));
    const nowNs = BigInt(Date.now()) * 1_000_000n;
    for (const { t } of requests) {
      assert.ok(nowNs - BigInt(t!) < 3600_000_000_000n && nowNs > BigInt(t!));
    }
    const actions = await readLog(`${logs}/clockwork_action_log.tsv`);
    const inferred = actions.filter(({ action_type, status }) =>
      action_type === "2" && status === "0"
    ).reduce((sum, { batch_size }) => sum + Number(batch_size), 0);
    assert.equal(inferred, count);
    assert.ok(actions.some(({ action_type }) => action_type === "1"));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

/** The rows of a log, by column. */
async function readLog(path: string): Promise<Record<string, string>[]> {
  const text = await Deno.readTextFile(path);
  assert.ok(text.endsWith("\n"), "the last row is whole");
  const [header, ...rows] = text.trimEnd().split("\n").map((line) => line.split("\t"));
  return rows.map((row) => {
    assert.equal(row.length, header!.length);
    return Object.fromEntries(header!.map((name, i) => [name, row[i]!]));
  });
}

/** The start of a frame: magic, format, kind, header length, payload length, the rest zero. */
function prefix(kind: number, headerBytes: number, payloadBytes: number): Uint8Array {
  const bytes = new Uint8Array(40);
  bytes.set([0x43, 0x57, 1, kind]);
  const view = new DataView(bytes.buffer);
  view.setUint32(4, headerBytes);
  view.setUint32(8, payloadBytes);
  return bytes;
}

/** Hello, as a peer with this role says it. */
function hello(role: string): Uint8Array {
  const text = (value: string) => [0xa0 + value.length, ...new TextEncoder().encode(value)];
  const header = [0x82, ...text("version"), PROTOCOL_VERSION, ...text("role"), ...text(role)];
  return new Uint8Array([...prefix(1, header.length, 0), ...header]);
}

/** Sends bytes, and returns what comes back before the other side closes. */
async function sendRaw(port: number, ...pieces: Uint8Array[]): Promise<string> {
  using conn = await Deno.connect({ hostname: HOST, port });
  const received: Uint8Array[] = [];
  try {
    for (const piece of pieces) await conn.write(piece);
    const bytes = new Uint8Array(65_536);
    for (let n = await conn.read(bytes); n !== null; n = await conn.read(bytes)) {
      received.push(bytes.slice(0, n));
    }
  } catch (error) {
    // What we sent after it had closed is answered by a reset.
    if (
      !(error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe)
    ) {
      throw error;
    }
  }
  return received.map((bytes) => new TextDecoder().decode(bytes)).join("");
}

/** Waits until a client has got answers. */
async function serves(client: Process): Promise<void> {
  await client.printed(/"succeeded":[1-9]/);
}

Deno.test("garbage, huge frames and killed clients close their connections, and nobody else's", async () => {
  await using processes = new Processes();
  const worker = await processes.worker();
  const controller = await processes.controller([worker]);
  const running = ["--interval", "100ms", "--json"];
  const steady = processes.start(simple(controller.address, ...running));
  await serves(steady);

  const garbage = crypto.getRandomValues(new Uint8Array(10_000));
  garbage[0] = 0;
  const huge = (kind: number) => prefix(kind, 100, 0xffff_ffff);
  // What each takes: Infer from a controller, InferRequest from a client.
  for (
    const [port, peer, kind] of [[worker.port, "controller", 18], [
      controller.port,
      "client",
      64,
    ]] as const
  ) {
    // Each is told why, whether or not it introduced itself.
    assert.match(await sendRaw(port, garbage), /protocol error: /);
    assert.match(await sendRaw(port, huge(1)), /protocol error: .*4294967295/);
    assert.match(await sendRaw(port, hello(peer), garbage), /protocol error: /);
    assert.match(await sendRaw(port, hello(peer), huge(kind)), /protocol error: .*4294967295/);
    assert.match(await sendRaw(port, hello("worker")), /protocol error: this is a (worker|contr)/);
  }
  await worker.process.printed(/^Refused a connection from .*: protocol error: /m);
  await worker.process.printed(/^Controller .* is gone: protocol error: .*4294967295/m);
  await controller.process.printed(/ was refused: protocol error: this is a controller/);
  await controller.process.printed(/^Client .* left: protocol error: .*4294967295/m);

  const victim = processes.start(simple(controller.address, ...running));
  await serves(victim);
  victim.kill();
  await victim.ended;
  await controller.process.printed(/^Client .* left: (closed by the peer|(read|write) failed)/m);

  const after = await processes.start(simple(controller.address, "--duration", "300ms")).ended;
  assert.equal(after.code, 0, after.stderr);
  assert.match(after.stdout, /success=100\.00%/);

  steady.signal("SIGINT");
  const { code, stdout } = await steady.ended;
  assert.equal(code, 0);
  assert.deepEqual(summaryOf(stdout).failures, []);
  controller.process.signal("SIGINT");
  worker.process.signal("SIGTERM");
  assert.equal((await controller.process.ended).code, 0);
  assert.equal((await worker.process.ended).code, 0);
});

Deno.test("a worker that is killed while it serves: the other goes on, and the last one's loss is told", async () => {
  await using processes = new Processes();
  const first = await processes.worker(["worker-dummy", "-n", "2"]);
  const second = await processes.worker();
  const controller = await processes.controller([first, second]);
  const client = processes.start(
    simple(controller.address, "--interval", "100ms", "--json", "--no-reconnect"),
  );
  await serves(client);
  first.process.kill();
  await controller.process.printed(/^Worker 0 \(.*\) lost: /m);
  const alone = await processes.start(simple(controller.address, "--duration", "300ms")).ended;
  assert.equal(alone.code, 0, alone.stderr);
  assert.match(alone.stdout, /success=100\.00%/);

  second.process.kill();
  await controller.process.printed("No worker is connected any more");
  const refused = await processes.start(simple(controller.address, "--duration", "300ms")).ended;
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^error: cannot load .*: no worker is connected$/m);

  // A controller without workers ends as well as any, and its client is told.
  controller.process.signal("SIGINT");
  assert.equal((await controller.process.ended).code, 0);
  const { code, stdout, stderr } = await client.ended;
  assert.equal(code, 1);
  assert.match(
    stderr,
    /error: the controller is gone: the peer closed: the controller is shutting/,
  );
  // The summary has one message of each status: the first.
  assert.match(
    stdout,
    /"example":"(the worker was lost while it ran the request|no worker is con)/,
  );
});

Deno.test("models that are not there, or are none, are refused; a real worker serves on", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${directory}/text`);
    await Deno.writeTextFile(`${directory}/text/model.onnx`, "this is not an ONNX file");
    const dirs = ["--model-dir", directory, "--model-dir", dirname(MLP)];
    const worker = await processes.worker(["worker", "--device", "wasm", ...dirs]);
    const controller = await processes.controller([worker]);
    const run = (model: string) =>
      processes.start(simple(controller.address, model, "--duration", "300ms")).ended;
    const [missing, text] = await Promise.all([
      run(`${directory}/none/model`),
      run(`${directory}/text/model`),
    ]);
    assert.equal(missing.code, 1);
    assert.match(
      missing.stderr,
      /^error: cannot load .*\/none\/model: worker 0: .*none.*\n$/,
    );
    assert.equal(text.code, 1);
    assert.match(text.stderr, /^error: cannot load .*\/text\/model: worker 0: .*text.*ONNX.*\n$/i);
    const outside = await run("/etc/hostname");
    assert.equal(outside.code, 1);
    assert.match(outside.stderr, /is not in this worker's model directories, .*--model-dir\n$/);

    // Generous: a busy machine must not fail the test.
    const good = await processes.start(simple(controller.address, MLP, "--duration", "1s")).ended;
    assert.equal(good.code, 0, good.stderr);
    assert.match(good.stdout, /^requests=\d+ success=/m);
    for (const { process } of [controller, worker]) {
      process.signal("SIGTERM");
      const { code, stderr } = await process.ended;
      assert.equal(code, 0, stderr);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
