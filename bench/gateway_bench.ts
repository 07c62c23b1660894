/**
 * What the HTTP gateway adds, measured with real processes on this machine: `deno task bench:gateway`.
 *
 * First, 602 KB of binary input through the gateway and with the client library, one request at a time,
 * alternating. Then, how late the controller's event loop is while the gateway parses 50 JSON tensors of
 * 150 528 floats a second, compared with the same requests in binary, and with none.
 */
import { connect } from "../src/client/mod.ts";
import { MS } from "../src/core/clock.ts";
import { ClockworkProcess, freePort } from "../src/cli/demo/processes.ts";
import { HttpConnection, httpRequest } from "./http_connection.ts";

const HOST = "127.0.0.1";
const FLOATS = 3 * 224 * 224;
const PAIRS = 600;
const WARM_UP = 100;
const RATE = 50;
/** Of each way to burden the gateway, in turn; and how often all of them are gone through. */
const SECONDS = 10;
const ROUNDS = 3;
const PATH = "/v2/models/resnet50_v2/infer";

const input = Float32Array.from({ length: FLOATS }, (_, i) => Math.sin(i));
const bytes = new Uint8Array(input.buffer);
const tensor = { name: "data", datatype: "FP32", shape: [1, 3, 224, 224] };
const parameters = { timeout: 1e6, binary_data_output: true };
const encoder = new TextEncoder();

/** As clients of Triton send it. */
function binaryRequest(): Uint8Array {
  const json = encoder.encode(JSON.stringify({
    inputs: [{ ...tensor, parameters: { binary_data_size: bytes.length } }],
    parameters,
  }));
  return httpRequest(PATH, { "inference-header-content-length": `${json.length}` }, [json, bytes]);
}

function jsonRequest(): Uint8Array {
  const json = encoder.encode(
    JSON.stringify({ inputs: [{ ...tensor, data: [...input] }], parameters }),
  );
  return httpRequest(PATH, { "content-type": "application/json" }, [json]);
}

function quantile(sorted: Float64Array, q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN;
}

function row(name: string, values: readonly number[]): void {
  const sorted = Float64Array.from(values).sort();
  const cells = [0.5, 0.9, 0.99, 1].map((q) => quantile(sorted, q).toFixed(2).padStart(8));
  console.log(`${name.padEnd(40)}${String(values.length).padStart(7)}${cells.join("")}`);
}

function header(title: string): void {
  console.log(`\n${title}`);
  console.log(`${"".padEnd(40)}      n     p50     p90     p99     max`);
}

/** Latencies in ms: the client library's, and HTTP's. */
async function alternate(controller: string, gateway: number): Promise<void> {
  const client = await connect(controller);
  const [model] = await client.ls();
  const http = await HttpConnection.open(HOST, gateway);
  const request = binaryRequest();
  const [tcpMs, httpMs, fetchMs]: number[][] = [[], [], []];
  const timed = async (into: number[], ask: () => Promise<unknown>): Promise<void> => {
    const startMs = performance.now();
    await ask();
    into.push(performance.now() - startMs);
  };
  const head = request.length - bytes.length;
  const fetchHeaders = /content-length: (\d+)\r\n\r\n/.exec(
    new TextDecoder().decode(request.subarray(0, head)),
  );
  if (fetchHeaders === null) throw new Error("the request has no length");
  const body = request.slice(request.length - Number(fetchHeaders[1]));
  const headers = {
    "content-type": "application/octet-stream",
    "inference-header-content-length": `${body.length - bytes.length}`,
    "accept-encoding": "identity",
  };
  for (let i = 0; i < WARM_UP + PAIRS; i++) {
    await timed(tcpMs!, () => client.infer(model!, bytes, { deadlineNs: 1000 * MS }));
    await timed(httpMs!, async () => {
      const status = await http.ask(request);
      if (status !== 200) throw new Error(`the gateway answered ${status}`);
    });
    await timed(fetchMs!, async () => {
      const response = await fetch(`http://${HOST}:${gateway}${PATH}`, {
        method: "POST",
        body,
        headers,
      });
      await response.arrayBuffer();
    });
  }
  header("602 KB in binary, one request at a time (ms)");
  const measured = (values: number[]) => values.slice(WARM_UP);
  row("client library, over TCP", measured(tcpMs!));
  row("gateway, over a bare HTTP connection", measured(httpMs!));
  row("gateway, by Deno's fetch", measured(fetchMs!));
  const added = measured(httpMs!).map((ms, i) => ms - measured(tcpMs!)[i]!);
  row("added by the gateway, pair by pair", added);
  http.close();
  await client.close();
}

/** Sends a request `RATE` times a second over some connections; returns what was not answered with 200. */
async function burden(gateway: number, request: Uint8Array, seconds: number): Promise<string> {
  const statuses = new Map<number, number>();
  const idle: HttpConnection[] = [];
  const all: HttpConnection[] = [];
  const running = new Set<Promise<void>>();
  const startMs = performance.now();
  for (let i = 0; i < RATE * seconds; i++) {
    const dueMs = startMs + i * 1000 / RATE;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
    const connection = idle.pop() ?? await HttpConnection.open(HOST, gateway);
    if (!all.includes(connection)) all.push(connection);
    const asked = connection.ask(request).then((status) => {
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      idle.push(connection);
      running.delete(asked);
    });
    running.add(asked);
  }
  await Promise.all(running);
  for (const connection of all) connection.close();
  return [...statuses].map(([status, count]) => `${count} of ${status}`).join(", ");
}

async function main(): Promise<void> {
  const ports = [freePort(), freePort(), freePort()];
  const [worker, controller, gateway] = ports as [number, number, number];
  const directory = Deno.makeTempDirSync();
  const env = { CLOCKWORK_LOG_DIR: directory };
  const processes: ClockworkProcess[] = [];
  const delays = new Map<string, number[]>();
  let into: string | null = null;
  const onLine = (_: string, line: string): void => {
    if (!line.startsWith("loop-probe ") || into === null) return;
    delays.set(into, [...delays.get(into) ?? [], ...JSON.parse(line.slice("loop-probe ".length))]);
  };
  const start = (name: string, args: readonly string[], flags: readonly string[] = []) => {
    const process = new ClockworkProcess(name, args, { env, flags, show: onLine });
    processes.push(process);
    return process;
  };
  try {
    await start("worker", ["worker-dummy", "-n", "2", "--host", HOST, "-p", `${worker}`])
      .line(/listening/);
    const probe = ["--preload", new URL("./loop_probe.ts", import.meta.url).pathname];
    await start("controller", [
      ...["controller", "INFER4", `${HOST}:${worker}`, "--host", HOST, "-p", `${controller}`],
    ], probe).line(/Awaiting LoadModel/);
    await start("gateway", ["gateway", `${HOST}:${controller}`, "-p", `${gateway}`])
      .line(/Connected/);
    const url = `http://${HOST}:${gateway}/v2/repository/models/resnet50_v2/load`;
    if (!(await fetch(url, { method: "POST" })).ok) {
      throw new Error("the model could not be loaded");
    }

    await alternate(`${HOST}:${controller}`, gateway);

    start("client", ["client", `${HOST}:${controller}`, "simple"]);
    const ways: [string, Uint8Array | null][] = [
      ["no requests over HTTP", null],
      [`${RATE} binary requests/s over HTTP`, binaryRequest()],
      [`${RATE} JSON requests/s over HTTP`, jsonRequest()],
    ];
    const notes: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      for (const [name, request] of ways) {
        await new Promise((resolve) => setTimeout(resolve, 1000));
        into = name;
        if (request === null) {
          await new Promise((resolve) => setTimeout(resolve, 1000 * SECONDS));
        } else {
          notes.push(`${name}: ${await burden(gateway, request, SECONDS)}`);
        }
        into = null;
      }
    }
    header("How late the controller's event loop was, with a closed loop of two clients (ms)");
    for (const [name, values] of delays) row(name, values);
    console.log(`\nAnswers by status: ${notes.join("; ")}`);
  } finally {
    for (const process of processes.toReversed()) await process.stop();
    Deno.removeSync(directory, { recursive: true });
  }
}

await main();
