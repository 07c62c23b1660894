/**
 * Connects thousands of idle clients, and hundreds that send requests and do not read the answers, and
 * prints their effect on a controller's memory and on the service of another client.
 *
 *     deno task bench:idle [--idle 5000] [--slow 200]
 */
import { Command } from "commander";
import { connect } from "../src/client/mod.ts";
import { encodeFrame } from "../src/wire/frame.ts";
import { type Kind, PROTOCOL_VERSION } from "../src/wire/messages.ts";
import { parseInteger } from "../src/cli/options/parse.ts";
import { mb, Nodes, printServed, sleep } from "./nodes.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
/** Before anybody else is connected, and while all are. */
const SERVE_S = 15;
const PING_MS = 10_000;
/** Slow readers ask this often for an inference, whose output is large: the kernel keeps a few MB as well. */
const ASK_MS = 2000;
const OUTPUT_BYTES = 1_000_000;
/** So little that some of them meet it. */
const MAX_UNREAD_TOTAL_MIB = 256;
/** Connections that are made at a time. */
const CONCURRENCY = 100;

interface Options {
  readonly idle: number;
  readonly slow: number;
  readonly verbose?: true;
}

function frame(kind: Kind, id: number, header: object): Uint8Array<ArrayBuffer> {
  return new Uint8Array(encodeFrame(kind, id, header, 0, 0, NaN));
}

const HELLO = frame("Hello", 0, { version: PROTOCOL_VERSION, role: "client", token: TOKEN });
const PING = frame("Ping", 0, {});

/** A client that says what it is told to, and reads or does not. */
class Peer {
  readonly #conn: Deno.TcpConn;
  open = true;

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  static async connect(port: number, reads: boolean): Promise<Peer> {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    const peer = new Peer(conn);
    await peer.say(HELLO);
    const buffer = new Uint8Array(256);
    // The controller's Hello comes last: then it is a client.
    await conn.read(buffer);
    if (reads) peer.#read(buffer);
    return peer;
  }

  async say(bytes: Uint8Array): Promise<void> {
    try {
      if (this.open) await this.#conn.write(bytes);
    } catch {
      // The controller has had enough.
      this.open = false;
    }
  }

  close(): void {
    this.#conn.close();
  }

  async #read(buffer: Uint8Array): Promise<void> {
    try {
      while (await this.#conn.read(buffer) !== null);
    } catch {
      // Closed by us, or reset.
    }
    this.open = false;
  }
}

async function connectMany(port: number, count: number, reads: boolean): Promise<Peer[]> {
  const peers: Peer[] = [];
  let started = 0;
  const some = async () => {
    while (started++ < count) peers.push(await Peer.connect(port, reads));
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, some));
  return peers;
}

/** Writes models for emulated workers: the one that the client uses, and one with a large output. */
function writeModels(directory: string): void {
  const zoo = new URL("../config/modelzoo/", import.meta.url);
  const profile = JSON.parse(Deno.readTextFileSync(new URL("resnet50_v2/model.json", zoo)));
  const large = {
    ...profile,
    outputs: [{ name: "output", dtype: "float32", shape: ["batch", OUTPUT_BYTES / 4] }],
    weights_bytes: 1_000_000,
    profiles: { v100: { weights_load_ns: 100_000, exec_ns: { 1: 100_000 } } },
    batch_sizes: [1],
  };
  for (const [name, model] of Object.entries({ resnet50_v2: profile, large })) {
    Deno.mkdirSync(`${directory}/${name}`);
    Deno.writeTextFileSync(`${directory}/${name}/model.json`, JSON.stringify(model));
  }
}

async function bench({ idle, slow, verbose }: Options): Promise<void> {
  const models = Deno.makeTempDirSync({ prefix: "clockwork-idle-" });
  writeModels(models);
  await using nodes = new Nodes(
    {
      worker: ["worker-dummy", "-n", "2"],
      controller: ["--max-unread-total", `${MAX_UNREAD_TOTAL_MIB}`],
      env: { CLOCKWORK_DISABLE_INPUTS: "1", CLOCKWORK_MODEL_DIR: models },
      workload: ["poisson-open-loop", "2", "100", "--slo", "100ms"],
    },
    TOKEN,
    verbose ?? false,
  );
  await nodes.start();
  const owner = await connect(`127.0.0.1:${nodes.port.controller}`, { token: TOKEN });
  const [large] = await owner.loadModel(`${models}/large`);
  const alone = await nodes.serve(sleep(SERVE_S));
  const before = await nodes.memory();
  const report = async (what: string) => {
    const controller = (await nodes.memory()).get("controller")!;
    console.log(
      `${what}: resident ${mb(controller.residentBytes)} MB, heap ${mb(controller.heapBytes)} MB`,
    );
    return controller;
  };
  await report("controller, alone");
  printServed("alone", alone);

  const idlers = await connectMany(nodes.port.controller, idle, true);
  const pings = setInterval(() => idlers.forEach((peer) => peer.say(PING)), PING_MS);
  const withIdlers = await nodes.serve(sleep(SERVE_S));
  const { residentBytes } = await report(`controller, ${idle} idle clients`);
  const each = (residentBytes - before.get("controller")!.residentBytes) / idle;
  console.log(`  ${(each / 1000).toFixed(0)} KB for each`);
  printServed("with them", withIdlers);

  const readers = await connectMany(nodes.port.controller, slow, false);
  const question = frame("InferRequest", 1, {
    user_id: 1,
    model_id: large!.id,
    batch_size: 1,
    deadline_ns: 0,
    slo_factor: 0,
  });
  let next = 0;
  const questions = setInterval(() => readers[next++ % slow]!.say(question), ASK_MS / slow);
  let peak = 0;
  const watch = setInterval(async () => {
    peak = Math.max(peak, (await nodes.memory()).get("controller")!.residentBytes);
  }, 1000);
  const withAll = await nodes.serve(sleep(2 * SERVE_S));
  clearInterval(watch);
  await report(`controller, and ${slow} that do not read`);
  console.log(
    `  ${mb(peak)} MB at most; ${readers.filter(({ open }) => open).length} slow readers and ` +
      `${idlers.filter(({ open }) => open).length} idle clients are still connected`,
  );
  printServed("with all", withAll);

  clearInterval(pings);
  clearInterval(questions);
  for (const peer of [...idlers, ...readers]) peer.close();
  await nodes.serve(sleep(SERVE_S));
  await report("controller, alone again");
  await owner.close();
  Deno.removeSync(models, { recursive: true });
}

const options = new Command()
  .option("--idle <n>", "clients that do nothing", parseInteger(1, 9000), 5000)
  .option("--slow <n>", "clients that do not read", parseInteger(1, 1000), 200)
  .option("--verbose", "show what processes print")
  .parse(Deno.args, { from: "user" }).opts<Options>();
await bench(options);
Deno.exit(0);
