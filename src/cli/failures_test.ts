/** Workers and controllers that die while they serve, and come back: nothing is lost. */
import assert from "node:assert/strict";
import { connect, type Model, SECOND } from "../client/mod.ts";
import { freePort } from "./demo/processes.ts";
import { HOST, Processes } from "./testing.ts";

/** Long enough for any machine: what waits for a connection is then sent again, and not given up. */
const DEADLINE_NS = 60 * SECOND;

function workerOn(port: number): string[] {
  return ["worker-dummy", "--host", HOST, "-p", `${port}`];
}

/** Asks for an inference every few milliseconds, and counts how often each settles. */
function steadily(infer: () => Promise<unknown>) {
  const settled: number[] = [];
  const failures: string[] = [];
  let succeeded = 0;
  const timer = setInterval(async () => {
    const request = settled.push(0) - 1;
    try {
      await infer();
      succeeded++;
    } catch (error) {
      failures.push((error as Error).message);
    }
    settled[request]!++;
  }, 5);
  return {
    failures,
    /** Resolves when as many more as given have succeeded. */
    async serves(more: number): Promise<void> {
      const wanted = succeeded + more;
      while (succeeded < wanted) await new Promise((resolve) => setTimeout(resolve, 10));
    },
    /** Resolves when all have settled, to how often each has. */
    async end(): Promise<readonly number[]> {
      clearInterval(timer);
      while (settled.includes(0)) await new Promise((resolve) => setTimeout(resolve, 10));
      return settled;
    },
  };
}

Deno.test("a worker and then the controller are killed under load and come back: each request settles once", async () => {
  await using processes = new Processes();
  const ports = [freePort(), freePort()];
  const workers = ports.map((port) => processes.start(workerOn(port)));
  for (const worker of workers) await worker.printed("listening on");
  const port = freePort();
  const startController = async () => {
    const controller = processes.start([
      ...["controller", "INFER4", ports.map((port) => `${HOST}:${port}`).join(",")],
      ...["--host", HOST, "-p", `${port}`],
    ]);
    await controller.printed("(Startup-3)");
    return controller;
  };
  const controller = await startController();

  const events: string[] = [];
  const clockwork = await connect(`${HOST}:${port}`, {
    reconnectNs: Infinity,
    onReconnecting: () => events.push("reconnecting"),
    onReconnected: () => events.push("reconnected"),
  });
  const models = await clockwork.loadModel("resnet18", 2);
  await clockwork.ready();
  let next = 0;
  const load = steadily(() =>
    clockwork.infer(models[next++ % 2] as Model, null, { deadlineNs: DEADLINE_NS })
  );
  await load.serves(20);

  workers[0]!.kill();
  await controller.printed(/^Worker 0 \(.*\) lost: /m);
  await load.serves(20);
  processes.start(workerOn(ports[0]!));
  await controller.printed(/^Worker 2 serves with /m);
  await load.serves(20);
  // Those that the worker had when it died are answered; the others are served.
  for (const failure of load.failures) assert.match(failure, /the worker was lost/);
  const failuresBefore = load.failures.length;

  controller.kill();
  await controller.ended;
  const again = await startController();
  await load.serves(20);
  const settled = await load.end();
  assert.ok(settled.length > 80);
  assert.deepEqual(settled.filter((times) => times !== 1), []);
  assert.deepEqual(load.failures.slice(failuresBefore), []);
  assert.equal(clockwork.callbacks.strayAnswers, 0);
  assert.deepEqual(events, ["reconnecting", "reconnected"]);
  // The models that the client had loaded are there, under whichever ids.
  const listed = await clockwork.ls();
  for (const model of models) assert.ok(listed.includes(model), `${model.id} ${model.path}`);
  await clockwork.close();
  again.signal("SIGTERM");
  assert.equal((await again.ended).code, 0);
});

Deno.test("a client whose controller does not come back says so, with what is undecided, and ends with 1", async () => {
  await using processes = new Processes();
  const worker = await processes.worker();
  const controller = await processes.controller([worker]);
  const client = processes.start([
    ...["client", controller.address, "spam"],
    ...["--interval", "100ms", "--reconnect", "200ms"],
  ]);
  await client.printed(/throughput=[1-9]/);
  controller.process.kill();
  const { code, stdout, stderr } = await client.ended;
  assert.equal(code, 1);
  assert.match(
    stdout,
    /^Connection to 127\.0\.0\.1:\d+ lost: (closed by the peer|read failed).*; reconnecting$/m,
  );
  assert.match(stdout, /^undecided \d+: sent, but the connection was lost before the answer/m);
  assert.match(
    stderr,
    /^error: the controller is gone: .*; it could not be made again within 0\.2 s: .*(nothing listens|does not answer)/m,
  );
});

Deno.test("a client that is told to stop while its controller is away ends at once, with 0 and its summary", async () => {
  await using processes = new Processes();
  const worker = await processes.worker();
  const controller = await processes.controller([worker]);
  const client = processes.start([
    ...["client", controller.address, "simple"],
    ...["--interval", "100ms", "--slo", "1s"],
  ]);
  await client.printed(/throughput=[1-9]/);
  controller.process.kill();
  await client.printed("; reconnecting");
  client.signal("SIGTERM");
  const { code, stdout, stderr } = await client.ended;
  assert.equal(stderr, "");
  assert.equal(code, 0);
  assert.match(stdout, /^requests=\d+ success=\d+/m);
});
