/**
 * Sends a million malformed frames to each port on which a node listens, while the same nodes serve a
 * client, and prints the effect on the nodes' memory and on the client.
 *
 *     deno task fuzz [--frames 1000000] [--only NAME]… [--seed 1]
 */
import { Command, Option } from "commander";
import { Random } from "../src/core/random.ts";
import { parseInteger } from "../src/cli/options/parse.ts";
import { fuzz, type FuzzCounts } from "../src/cli/testing_fuzz.ts";
import { fuzzedHttp } from "../src/gateway/testing_fuzz.ts";
import type { Role } from "../src/wire/roles.ts";
import { type Conversation, fuzzed } from "../src/wire/testing_fuzz.ts";
import { type Cluster, mb, type NodeName, Nodes, printServed, sleep } from "./nodes.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
/** Most frames on a connection. */
const MAX_FRAMES = 20;
/** HTTP requests on a connection: a server reads none after one that cannot be read. */
const MAX_REQUESTS = 3;
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

interface Target extends Cluster {
  readonly name: string;
  readonly node: NodeName;
  /** What the next peer sends it. */
  readonly next: (random: Random) => Conversation;
}

/** Peers that say they are of a role. */
function as(role: Role): Target["next"] {
  return (random) => fuzzed(random, role, TOKEN, MAX_FRAMES);
}

const targets: readonly Target[] = [
  { name: "controller", node: "controller", next: as("client"), ...emulated },
  { name: "worker-dummy", node: "worker", next: as("controller"), ...emulated },
  { name: "controller, joined", node: "controller", next: as("worker"), ...emulated },
  {
    name: "gateway",
    node: "gateway",
    next: (random) => fuzzedHttp(random, ["resnet50_v2"], MAX_REQUESTS),
    ...emulated,
    gateway: true,
  },
  {
    name: "worker",
    node: "worker",
    next: as("controller"),
    worker: ["worker", "--device", "wasm"],
    env: { CLOCKWORK_MODEL_DIR: testModels },
    workload: ["simple", "mlp", "--slo", "100ms"],
  },
];

interface Options {
  readonly frames: number;
  readonly only?: string[];
  readonly seed: number;
  readonly concurrency: number;
  readonly verbose?: true;
}

async function run(target: Target, options: Options): Promise<boolean> {
  await using nodes = new Nodes(target, TOKEN, options.verbose ?? false);
  await nodes.start();
  const random = new Random(options.seed);
  const { concurrency } = options;
  const attack = (frames: number) =>
    fuzz({
      port: nodes.port[target.node],
      next: () => target.next(random),
      frames,
      concurrency,
    });
  const calm = await nodes.serve(sleep(CALM_S));
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
  const meanwhile = await nodes.serve(attacked());
  await nodes.serve(sleep(SETTLE_S));
  const after = await nodes.memory();

  const { frames, connections, bytes, hung, refused } = counts!;
  console.log(
    `${target.name}: ${frames} frames on ${connections} connections, ${mb(bytes)} MB, in ` +
      `${seconds.toFixed(0)} s: ${(frames / seconds).toFixed(0)} frames/s, ` +
      `${(connections / seconds).toFixed(0)} connections/s; ${hung} left open, ${refused} not made`,
  );
  for (const [node, { residentBytes, heapBytes }] of before) {
    const now = after.get(node)!;
    console.log(
      `  ${node}: resident ${mb(residentBytes)} → ${mb(now.residentBytes)} MB, ` +
        `heap ${mb(heapBytes)} → ${mb(now.heapBytes)} MB`,
    );
  }
  printServed("before", calm);
  printServed("meanwhile", meanwhile);
  return hung === 0 && refused === 0;
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
