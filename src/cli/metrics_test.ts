/** Metrics as Prometheus gets them: over HTTP, of each role as a process of its own. */
import assert from "node:assert/strict";
import { type Family, parseExposition } from "../telemetry/metrics/testing.ts";
import { freePort } from "./demo/processes.ts";
import { HOST, Processes } from "./testing.ts";

async function scrapeOf(port: number): Promise<Map<string, Family>> {
  const response = await fetch(`http://${HOST}:${port}/metrics`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  return parseExposition(await response.text());
}

/** The sum of a metric's samples whose labels contain this text. */
function total(families: Map<string, Family>, name: string, labels = ""): number {
  const family = families.get(name);
  assert.ok(family !== undefined, `no ${name}`);
  let sum = 0;
  for (const [key, value] of family.samples) if (key.includes(labels)) sum += value;
  return sum;
}

Deno.test("worker and controller tell Prometheus of a workload", async () => {
  await using processes = new Processes();
  const ofWorker = freePort();
  const worker = await processes.worker(["worker-dummy", "-n", "2", "--metrics", `${ofWorker}`]);
  const ofController = freePort();
  const controller = await processes.controllerOf(worker.address, ["--metrics", `${ofController}`]);
  const workload = ["simple-parametric", "1", "1", "2", "50"];
  const client = processes.start(["client", controller.address, ...workload, "--user", "3"]);
  const { code, stdout } = await client.ended;
  assert.equal(code, 0, stdout);

  const told = await scrapeOf(ofController);
  assert.equal(total(told, "clockwork_info", 'role="controller"'), 1);
  assert.equal(total(told, "clockwork_requests_total"), 50);
  assert.equal(total(told, "clockwork_user_requests_total", 'user="3"'), 50);
  assert.equal(total(told, "clockwork_gpu_pages"), 2 * 1376);
  assert.ok(total(told, "clockwork_gpu_busy_seconds_total", 'engine="infer"') > 0.1);
  assert.ok(total(told, "process_resident_memory_bytes") > 1e6);
  assert.ok(total(told, "process_cpu_seconds_total") > 0);

  const worked = await scrapeOf(ofWorker);
  assert.equal(total(worked, "clockwork_info", 'role="worker"'), 1);
  const infers = 'type="infer",status="success"';
  assert.equal(
    total(worked, "clockwork_worker_actions_total", infers),
    total(told, "clockwork_actions_total", infers),
  );
  assert.equal(total(worked, "clockwork_connections"), 1);
});

Deno.test("a gateway tells Prometheus what it was asked, at its own address and with its token", async () => {
  await using processes = new Processes();
  const worker = await processes.worker();
  const controller = await processes.controllerOf(worker.address);
  const port = freePort();
  const token = "0123456789abcdef";
  const gateway = processes.start(["gateway", controller.address, "--port", `${port}`], {
    CLOCKWORK_HTTP_TOKEN: token,
  });
  await gateway.printed("Connected to the controller");
  const base = `http://${HOST}:${port}`;
  const headers = { authorization: `Bearer ${token}` };
  const post = async (path: string, body: object) => {
    const init = {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify(body),
    };
    const response = await fetch(`${base}/v2/${path}`, init);
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await post("repository/models/resnet50_v2/load", {}), 200);
  assert.equal(await post("models/resnet50_v2/infer", { inputs: [] }), 400);
  const refused = await fetch(`${base}/metrics`);
  await refused.body?.cancel();
  assert.equal(refused.status, 401);
  const response = await fetch(`${base}/metrics`, { headers });
  const told = parseExposition(await response.text());
  assert.equal(total(told, "clockwork_http_controller_up"), 1);
  assert.equal(total(told, "clockwork_http_requests_total", 'code="200"'), 1);
  assert.equal(total(told, "clockwork_http_requests_total", 'code="401"'), 1);
  assert.equal(total(told, "clockwork_http_inferences_total", 'model="resnet50_v2",code="400"'), 1);
  assert.equal(total(told, "clockwork_info", 'role="gateway"'), 1);
});

Deno.test("what else is asked of the port is answered, and the port may be in use", async () => {
  await using processes = new Processes();
  const port = freePort();
  await processes.worker(["worker-dummy", "--metrics", `${port}`]);
  const ask = async (path: string, init?: RequestInit) => {
    const response = await fetch(`http://${HOST}:${port}${path}`, init);
    return [response.status, await response.text()];
  };
  assert.deepEqual(await ask("/"), [404, "metrics are at /metrics\n"]);
  assert.deepEqual(await ask("/metrics", { method: "POST", body: "x" }), [
    405,
    "metrics can only be read\n",
  ]);
  assert.deepEqual(await ask("/metrics", { method: "HEAD" }), [200, ""]);

  const args = ["--host", HOST, "-p", `${freePort()}`];
  const second = processes.start(["worker-dummy", ...args, "--metrics", `${port}`]);
  const { code, stderr } = await second.ended;
  assert.equal(code, 1);
  assert.match(stderr, /cannot serve metrics on 127\.0\.0\.1:\d+: the port is in use/);

  const third = processes.start(["worker-dummy", ...args, "--metrics", "here:"]);
  const ended = await third.ended;
  assert.equal(ended.code, 2);
  assert.match(ended.stderr, /Expected \[HOST:\]PORT/);
});
