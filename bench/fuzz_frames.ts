/**
 * Sends each port on which a node listens a million frames that are nearly right, while a client is
 * served by the same nodes, and prints what that did to the nodes' memory and to the client.
 *
 *     deno task fuzz [--frames 1000000] [--only NAME]… [--seed 1]
 */
import { Command, Option } from "commander";
import { Random } from "../src/core/random.ts";
import { ClockworkProcess, freePort, show } from "../src/cli/demo/processes.ts";
import { parseInteger } from "../src/cli/parse.ts";
import { fuzz, type FuzzCounts } from "../src/cli/testing_fuzz.ts";
import type { Role } from "../src/wire/connection_options.ts";
import { type Memory, memoryOf } from "./node_memory.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
/** Most frames on a connection. */
const MAX_FRAMES = 20;
/** Frames before memory is looked at first: by then code is compiled, and caches are full. */
const WARM_FRAMES = 50_000;
/** How long the client runs alone. */
const CALM_S = 15;
/** Time for collectors after the last frame, while the client goes on. */
const SETTLE_S = 20;

const testModels = new URL("../testdata/models", import.meta.url).pathname;
const emulated = {
  worker: ["worker-dummy", "-n", "2"],
  env: { CLOCKWORK_DISABLE_INPUTS: "1" } as Record<string, string>,
  workload: ["poisson-open-loop", "2", "100", "--slo", "100ms"],
};

interface Target {
  readonly name: string;
  /** Which node is sent frames, by peers that say they are of this role. */
  readonly node: "controller" | "worker";
  readonly role: Role;
  readonly worker: readonly string[];
  readonly env: Record<string, string>;
  readonly workload: readonly string[];
}

const targets: readonly Target[] = [
  { name: "controller", node: "controller", role: "client", ...emulated },
  { name: "worker-dummy", node: "worker", role: "controller", ...emulated },
  { name: "controller, joined", node: "controller", role: "worker", ...emulated },
  {
    name: "worker",
    node: "worker",
    role: "controller",
    worker: ["worker", "--device", "wasm"],
    env: { CLOCKWORK_MODEL_DIR: testModels },
    workload: ["simple", "mlp", "--slo", "100ms"],
  },
];

/** What the client prints last. */
interface Summary {
  readonly requests: number;
  readonly in_time: number;
  readonly duration_s: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
}

interface Options {
  readonly frames: number;
  readonly only?: string[];
  readonly seed: number;
  readonly concurrency: number;
  readonly verbose?: true;
}

/** A controller and a worker, of which one is sent frames. */
class Nodes {
  readonly #all: ClockworkProcess[] = [];
  readonly #env: Record<string, string>;
  readonly #directory = Deno.makeTempDirSync({ prefix: "clockwork-fuzz-" });
  readonly #show: (name: string, line: string) => void;
  readonly port = { worker: freePort(), controller: freePort() };
  readonly #metrics = { worker: freePort(), controller: freePort() };

  constructor(target: Target, verbose: boolean) {
    this.#env = { ...target.env, CLOCKWORK_TOKEN: TOKEN, CLOCKWORK_LOG_DIR: this.#directory };
    this.#show = verbose ? show : (name, line) => {
      if (/internal error|error while serving|Uncaught/.test(line)) show(name, line);
    };
  }

  run(name: string, args: readonly string[], onLine = this.#show): ClockworkProcess {
    const process = new ClockworkProcess(name, args, { env: this.#env, show: onLine });
    this.#all.push(process);
    return process;
  }

  async start(target: Target): Promise<void> {
    const listen = (node: "worker" | "controller") => [
      ...["--host", "127.0.0.1", "-p", `${this.port[node]}`, "--metrics", `${this.#metrics[node]}`],
    ];
    await this.run("worker", [...target.worker, ...listen("worker")]).line(/listening on/);
    const workers = `127.0.0.1:${this.port.worker},join`;
    await this.run("controller", ["controller", "INFER4", workers, ...listen("controller")])
      .line(/Awaiting LoadModel/);
  }

  /** Fails when one of them has ended. */
  async memory(): Promise<{ worker: Memory; controller: Memory }> {
    const [worker, controller] = await Promise.all([
      memoryOf(this.#metrics.worker),
      memoryOf(this.#metrics.controller),
    ]);
    if (worker === null || controller === null) throw new Error("a node does not answer any more");
    return { worker, controller };
  }

  /** Runs the client until `end` resolves. */
  async serve(target: Target, end: Promise<unknown>): Promise<Summary> {
    let summary: Summary | undefined;
    const client = this.run(
      "client",
      ["client", `127.0.0.1:${this.port.controller}`, ...target.workload, "--json"],
      (name, line) => {
        this.#show(name, line);
        if (line.startsWith('{"type":"summary"')) summary = JSON.parse(line);
      },
    );
    await end;
    await client.stop();
    if (summary === undefined) throw new Error("the client failed");
    return summary;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#all.toReversed()) await process.stop();
    Deno.removeSync(this.#directory, { recursive: true });
  }
}

function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
}

async function run(target: Target, options: Options): Promise<boolean> {
  await using nodes = new Nodes(target, options.verbose ?? false);
  await nodes.start(target);
  const random = new Random(options.seed);
  const { concurrency } = options;
  const attack = (frames: number) =>
    fuzz({
      port: nodes.port[target.node],
      role: target.role,
      token: TOKEN,
      random: random.fork(),
      frames,
      concurrency,
      maxFrames: MAX_FRAMES,
    });
  const calm = await nodes.serve(target, sleep(CALM_S));
  await attack(Math.min(WARM_FRAMES, options.frames));
  await sleep(SETTLE_S / 2);
  const before = await nodes.memory();
  let counts: FuzzCounts | undefined;
  let seconds = 0;
  const attacked = async () => {
    // The client loads its models first.
    await sleep(3);
    const beginMs = performance.now();
    counts = await attack(options.frames);
    seconds = (performance.now() - beginMs) / 1000;
  };
  const meanwhile = await nodes.serve(target, attacked());
  await nodes.serve(target, sleep(SETTLE_S));
  const after = await nodes.memory();

  const { frames, connections, bytes, hung, refused } = counts!;
  console.log(
    `${target.name}: ${frames} frames on ${connections} connections, ${mb(bytes)} MB, in ` +
      `${seconds.toFixed(0)} s: ${(frames / seconds).toFixed(0)} frames/s, ` +
      `${(connections / seconds).toFixed(0)} connections/s; ${hung} left open, ${refused} not made`,
  );
  for (const node of ["controller", "worker"] as const) {
    console.log(
      `  ${node}: resident ${mb(before[node].residentBytes)} → ${
        mb(after[node].residentBytes)
      } MB, ` +
        `heap ${mb(before[node].heapBytes)} → ${mb(after[node].heapBytes)} MB`,
    );
  }
  for (const [when, summary] of [["before", calm], ["meanwhile", meanwhile]] as const) {
    const { requests, in_time, duration_s, p50_ms, p99_ms } = summary;
    console.log(
      `  served ${when}: ${(in_time / duration_s).toFixed(1)} requests/s in time, ` +
        `${(100 * in_time / requests).toFixed(2)} %; p50 ${p50_ms.toFixed(1)} ms, p99 ${
          p99_ms.toFixed(1)
        } ms`,
    );
  }
  return hung === 0 && refused === 0;
}

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

const { only, ...options } = new Command()
  .option("--frames <n>", "frames for each port", parseInteger(1, 1e9), 1_000_000)
  .addOption(
    new Option("--only <name...>", "of these only").choices(targets.map(({ name }) => name)),
  )
  .option("--concurrency <n>", "connections at a time", parseInteger(1, 1000), 16)
  .option("--seed <n>", "of the frames", parseInteger(0, 2 ** 32 - 1), 1)
  .option("--verbose", "show what processes print")
  .parse(Deno.args, { from: "user" }).opts<Options>();
let well = true;
for (const target of targets) {
  if (only === undefined || only.includes(target.name)) well = await run(target, options) && well;
}
Deno.exit(well ? 0 : 1);
