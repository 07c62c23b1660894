/** The HTTP front door as people run it: processes, real models, and everything that goes wrong. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { connect } from "../client/mod.ts";
import { freePort } from "./demo/processes.ts";
import { HOST, type Process, Processes } from "./testing.ts";

const MODELS = fileURLToPath(new URL("../../testdata/models", import.meta.url));

/** A gateway of its own, for a controller. */
async function gatewayOf(
  processes: Processes,
  controller: string,
  more: readonly string[] = [],
): Promise<{ process: Process; url: string; port: number }> {
  const port = freePort();
  const process = processes.start(["gateway", controller, "-p", `${port}`, ...more]);
  await process.printed("Connected to the controller");
  return { process, port, url: `http://${HOST}:${port}` };
}

async function post(url: string, json: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(url, {
    method: "POST",
    body: typeof json === "string" ? json : JSON.stringify(json),
    headers: { "content-type": "application/json", ...headers },
  });
  return { status: response.status, body: await response.json() };
}

/** Asks again and again, as whoever watches over a gateway does, until it is ready or is not. */
async function until(url: string, status: number): Promise<void> {
  while (true) {
    const response = await fetch(`${url}/v2/health/ready`);
    await response.body?.cancel();
    if (response.status === status) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

Deno.test("a real model over HTTP gives what it gives to the client library; the controller may come and go", async () => {
  await using processes = new Processes();
  const env = { CLOCKWORK_MODEL_DIR: MODELS };
  const worker = await processes.worker(["worker", "--device", "wasm"], env);
  const controller = await processes.controller([worker]);
  const { process, url } = await gatewayOf(processes, controller.address);

  const loaded = await post(`${url}/v2/repository/models/mlp/load`, {});
  assert.deepEqual(loaded, { status: 200, body: { name: "mlp", copies: 1 } });
  const { inputs: [input], outputs: [output] } = await (await fetch(`${url}/v2/models/mlp`)).json();
  assert.equal(input.datatype, "FP32");
  const [, ...shape] = input.shape as number[];
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  const data = Float32Array.from({ length: 3 * size }, (_, i) => Math.sin(i));
  const answer = await post(`${url}/v2/models/mlp/infer`, {
    inputs: [{ name: input.name, datatype: "FP32", shape: [3, ...shape], data: [...data] }],
    parameters: { timeout: 30e6 },
  });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  const [{ data: values, shape: outputShape }] = answer.body.outputs;
  assert.deepEqual(outputShape, [3, ...output.shape.slice(1)]);

  const client = await connect(controller.address);
  const [model] = await client.ls();
  const expected: number[] = [];
  for (let row = 0; row < 3; row++) {
    const bytes = new Uint8Array(data.slice(row * size, (row + 1) * size).buffer);
    const result = await client.infer(model!, bytes, { deadlineNs: 30e9 });
    expected.push(...new Float32Array(result.slice().buffer));
  }
  await client.close();
  assert.equal(values.length, expected.length);
  values.forEach((value: number, i: number) =>
    assert.ok(Math.abs(value - expected[i]!) <= 1e-5 * Math.max(1, Math.abs(expected[i]!)))
  );
  assert.ok(expected.some((value) => value !== 0), "the comparison would otherwise mean nothing");

  controller.process.kill();
  await until(url, 503);
  const away = await post(`${url}/v2/models/mlp/infer`, {});
  assert.equal(away.status, 503);
  assert.match(away.body.error, /^the controller is away/);
  const where = ["--host", HOST, "-p", `${controller.port}`];
  const next = processes.start(["controller", "INFER4", worker.address, ...where]);
  await next.printed("(Startup-3)");
  // Until the gateway has found it, which it looks for every two seconds.
  let again: number;
  do {
    again = (await post(`${url}/v2/repository/models/mlp/load`, {})).status;
  } while (again === 503);
  assert.equal(again, 200);
  await until(url, 200);

  process.signal("SIGTERM");
  assert.equal((await process.ended).code, 0);
});

/** Sends a request byte by byte, as `script` says, and returns the status that comes back. */
async function raw(port: number, script: (send: (text: string) => Promise<void>) => Promise<void>) {
  using connection = await Deno.connect({ hostname: HOST, port });
  const encoder = new TextEncoder();
  await script(async (text) => {
    for (let bytes = encoder.encode(text); bytes.length > 0;) {
      bytes = bytes.subarray(await connection.write(bytes));
    }
  });
  const bytes = new Uint8Array(4096);
  const n = await connection.read(bytes) ?? 0;
  return Number(/^HTTP\/1\.1 (\d+)/.exec(new TextDecoder().decode(bytes.subarray(0, n)))?.[1]);
}

Deno.test("what is malformed, too large, too slow or unknown has its status, and harms nobody", async () => {
  await using processes = new Processes();
  const worker = await processes.worker();
  const controller = await processes.controller([worker]);
  const { process, url, port } = await gatewayOf(processes, controller.address, [
    "--body-timeout",
    "500ms",
    "--max-body",
    "8",
  ]);
  await post(`${url}/v2/repository/models/resnet50_v2/load`, {});
  const path = "/v2/models/resnet50_v2/infer";
  const good = async () => {
    const response = await fetch(url + path, {
      method: "POST",
      body: new Uint8Array(602_112),
      headers: {
        "content-type": "application/octet-stream",
        "inference-header-content-length": "0",
        "x-slo-ms": "30000",
      },
    });
    assert.equal((await response.arrayBuffer()).byteLength > 4000, true);
    return response.status;
  };
  assert.equal(await good(), 200);

  const malformed = ["{", "[[[[", '{"inputs": 5}', '{"inputs":[{"name":"data"}]}', "\u0000", "nul"];
  for (const text of malformed) assert.equal((await post(url + path, text)).status, 400, text);
  const input = { name: "data", datatype: "FP32", shape: [1, 3, 224, 224], data: [1, 2] };
  const short = await post(url + path, { inputs: [input] });
  assert.equal(short.status, 400);
  assert.equal(short.body.error, 'input "data": 150528 values were expected, and there are 2');
  assert.equal((await post(`${url}/v2/models/nobody/infer`, {})).status, 404);

  // 100 MB, said beforehand and not said.
  const large = new Uint8Array(100e6);
  const headers = { "content-type": "application/octet-stream" };
  const said = await fetch(url + path, { method: "POST", body: large, headers });
  assert.equal(said.status, 413);
  await said.body?.cancel();
  const unsaid = await raw(port, async (send) => {
    await send(`POST ${path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n`);
    const chunk = `100000\r\n${"x".repeat(2 ** 20)}\r\n`;
    // The gateway hangs up when it has had enough.
    for (let i = 0; i < 100; i++) await send(chunk).catch(() => {});
  });
  assert.equal(unsaid, 413);
  // Clients that read nothing before they have sent all, as most, see the reason all the same.
  for (const [where, status] of [[path, 413], ["/v2/models/nobody/infer", 404]] as const) {
    const sent = await raw(port, async (send) => {
      await send(`POST ${where} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 20000000\r\n\r\n`);
      await send("x".repeat(20e6));
    });
    assert.equal(sent, status);
  }

  const slow = await raw(port, async (send) => {
    await send(`POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{`);
  });
  assert.equal(slow, 408);

  assert.equal(await good(), 200);
  await until(url, 200);
  process.signal("SIGTERM");
  const { code, stdout, stderr } = await process.ended;
  assert.equal(code, 0);
  assert.doesNotMatch(stdout + stderr, /error while serving|Uncaught/);
  controller.process.signal("SIGTERM");
  assert.equal((await controller.process.ended).code, 0);
});

Deno.test("controller --http serves from a thread, with a token if it has one", async () => {
  await using processes = new Processes();
  const worker = await processes.worker();
  const [port, http] = [freePort(), freePort()];
  const controller = processes.start(
    ["controller", "INFER4", worker.address, "-p", `${port}`, "--http", `${HOST}:${http}`],
    { CLOCKWORK_HTTP_TOKEN: "0123456789abcdef" },
  );
  await controller.printed("(Startup-3)");
  await controller.printed(`Serving HTTP at http://${HOST}:${http}/v2`);
  const url = `http://${HOST}:${http}`;
  const load = `${url}/v2/repository/models/resnet18/load`;
  assert.equal((await post(load, {})).status, 401);
  const authorization = "Bearer 0123456789abcdef";
  assert.equal((await post(load, {}, { authorization })).status, 200);
  await until(url, 200);
  const [input] = (await (await fetch(`${url}/v2/models/resnet18`, { headers: { authorization } }))
    .json()).inputs;
  const data = new Array(3 * 224 * 224).fill(0.5);
  const answer = await post(`${url}/v2/models/resnet18/infer`, {
    inputs: [{ name: input.name, datatype: "FP32", shape: [1, 3, 224, 224], data }],
    parameters: { timeout: 30e6 },
  }, { authorization });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  controller.signal("SIGTERM");
  assert.equal((await controller.ended).code, 0);
});

Deno.test("what a gateway cannot be is said with 1 or 2", async () => {
  await using processes = new Processes();
  const taken = Deno.listen({ hostname: HOST, port: 0 });
  const cases: [string[], number, RegExp][] = [
    [["gateway"], 2, /missing required argument 'address'/],
    [["gateway", "a:b:c"], 2, /"a:b:c" is not an address/],
    [["gateway", HOST, "--host", "0.0.0.0"], 2, /lets other machines in: give clients a token/],
    [["gateway", HOST, "--cors", "example.com"], 2, /Expected an origin/],
    [["gateway", HOST, "-p", `${taken.addr.port}`], 1, /the port is in use/],
    [["controller", "INFER4", "join", "--http", "0.0.0.0:8000"], 2, /lets other machines in/],
  ];
  const ended = await Promise.all(cases.map(([args]) => processes.start(args).ended));
  taken.close();
  ended.forEach(({ code, stderr }, i) => {
    const [args, expected, problem] = cases[i]!;
    assert.equal(code, expected, args.join(" "));
    assert.match(stderr, problem);
  });
});
