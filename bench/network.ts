/**
 * A worker, a controller and a client on three hosts of an emulated network, with delay and loss, and two
 * partitions: first nothing gets through between worker and controller, then between client and controller.
 * Prints the outcomes of requests before, during and after, and the controller's estimate of the worker's
 * clock. Needs Linux, the rights of root, and `ip` of iproute2.
 *
 *     deno task bench:network [--delay 20ms] [--loss 1] [--cut 5s] [--rate 300] [--deadline 500ms]
 */
import { Command, Option } from "commander";
import { fileURLToPath } from "node:url";
import { MS, SECOND } from "../src/core/clock.ts";
import { ClockworkProcess, show } from "../src/cli/demo/processes.ts";
import { readLines } from "../src/cli/demo/lines.ts";
import { parseDuration, parseInteger } from "../src/cli/options/parse.ts";
import { LoadClient } from "./failures/load_client.ts";
import {
  broken,
  type Bucket,
  COUNTS,
  goodAgainMs,
  quantileMs,
  sum,
  table,
} from "./failures/timeline.ts";
import { Network } from "./network/hosts.ts";

const HOSTS = ["worker", "controller", "client"] as const;
const [WORKER, CONTROLLER, CLIENT] = [0, 1, 2];
const PORT = 12345;
const METRICS_PORT = 9100;
const COPIES = 4;
const BEFORE_MS = 5000;
const AFTER_MS = 15_000;
/** Service is as good as before when this part of the good share before is good again. */
const AS_GOOD = 0.95;

interface Options {
  /** In nanoseconds. */
  readonly delay: number;
  readonly ahead: number;
  /** In percent. */
  readonly loss: number;
  readonly cut: number;
  readonly rate: number;
  readonly deadline: number;
  readonly verbose?: true;
}

/** What the controller believed of the worker's clock. */
interface Belief {
  readonly atMs: number;
  readonly offsetMs: number;
  readonly roundTripMs: number;
}

interface Partition {
  readonly between: string;
  readonly cutMs: number;
  readonly joinedMs: number;
  readonly untilMs: number;
}

/** All processes of a run; none outlives it. */
class Nodes implements AsyncDisposable {
  readonly beliefs: Belief[] = [];
  client!: LoadClient;
  readonly #network: Network;
  readonly #options: Options;
  readonly #directory = Deno.makeTempDirSync({ prefix: "clockwork-network-" });
  readonly #show: (name: string, line: string) => void;
  /** Peers on other machines are served with a token only. */
  readonly #env = { CLOCKWORK_TOKEN: crypto.randomUUID() };
  readonly #stop: (() => Promise<unknown>)[] = [];

  constructor(network: Network, options: Options) {
    this.#network = network;
    this.#options = options;
    this.#show = options.verbose ? show : () => {};
  }

  async start(): Promise<void> {
    const worker = this.#run(WORKER, ["worker-dummy", "-n", "2", "-p", `${PORT}`]);
    await worker.line(/listening on/);
    const controller = this.#run(CONTROLLER, [
      ...["controller", "INFER4", `${this.#network.address(WORKER)}:${PORT}`],
      ...["-p", `${PORT}`, "--metrics", `${METRICS_PORT}`],
      ...["--schedule-ahead", `${this.#options.ahead}`],
    ]);
    await controller.line(/Awaiting LoadModel/);
    this.#watchClock();
    const { rate, deadline } = this.#options;
    this.client = new LoadClient({
      address: `${this.#network.address(CONTROLLER)}:${PORT}`,
      copies: COPIES,
      rate,
      deadlineMs: deadline / MS,
      env: this.#env,
      via: this.#network.on(CLIENT),
      onLine: (line) => this.#show("client", line),
    });
    this.#stop.push(() => this.client.stop());
    await this.client.started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stop of this.#stop.toReversed()) await stop();
    Deno.removeSync(this.#directory, { recursive: true });
  }

  #run(host: number, args: readonly string[]): ClockworkProcess {
    const process = new ClockworkProcess(HOSTS[host]!, args, {
      env: { ...this.#env, CLOCKWORK_LOG_DIR: `${this.#directory}/logs` },
      via: this.#network.on(host),
      show: this.#show,
    });
    this.#stop.push(() => process.stop());
    return process;
  }

  #watchClock(): void {
    const [program, ...args] = [
      ...[...this.#network.on(CONTROLLER), Deno.execPath(), "run", "--allow-net"],
      fileURLToPath(new URL("network/watch_clock.ts", import.meta.url)),
      `${METRICS_PORT}`,
    ];
    const child = new Deno.Command(program!, { args, stdout: "piped", stdin: "null" }).spawn();
    const read = readLines(child.stdout, (line) => this.beliefs.push(JSON.parse(line)));
    this.#stop.push(() => {
      child.kill("SIGKILL");
      return Promise.all([child.status, read]);
    });
  }
}

async function bench(options: Options): Promise<void> {
  const { delay, loss, cut } = options;
  await using network = await Network.make(HOSTS, { delayNs: delay, loss: loss / 100 });
  await using nodes = new Nodes(network, options);
  await nodes.start();
  const partitions: Partition[] = [];
  for (const [a, b] of [[WORKER, CONTROLLER], [CLIENT, CONTROLLER]] as const) {
    await sleep(BEFORE_MS);
    const cutMs = Date.now();
    network.cut(a, b, true);
    await sleep(cut / MS);
    const joinedMs = Date.now();
    network.cut(a, b, false);
    await sleep(AFTER_MS);
    const between = `${HOSTS[a]}–${HOSTS[b]}`;
    partitions.push({ between, cutMs, joinedMs, untilMs: Date.now() });
    console.error(`${between}: cut and joined again`);
  }
  await nodes.client.stop();
  const { carried, lost } = network.packets;
  console.log(
    `${options.rate} requests/s, each with ${options.deadline / MS} ms; ${
      delay / MS
    } ms from host to ` +
      `host; ${carried} packets arrived, ${lost} were lost\n`,
  );
  report(partitions, nodes);
}

function report(partitions: readonly Partition[], { client, beliefs }: Nodes): void {
  const { buckets, strayAnswers, reconnects } = client;
  const rows: (readonly string[])[] = [[
    ...[
      "cut",
      "when",
      ...COUNTS,
      "p50 ms",
      "p99 ms",
      "max ms",
      "clock error ms",
      "good again after",
    ],
  ]];
  // The machine is one, so the offset does not change: what it was in quiet is right.
  const quiet = beliefs.filter(({ atMs }) => atMs < partitions[0]!.cutMs).slice(-8);
  const trueMs = quiet.map(({ offsetMs }) => offsetMs).sort((a, b) => a - b)[quiet.length >> 1]!;
  const clockErrorMs = (fromMs: number, untilMs: number) => {
    const errors = beliefs.filter(({ atMs }) => atMs >= fromMs && atMs < untilMs)
      .map(({ offsetMs }) => Math.abs(offsetMs - trueMs));
    return errors.length === 0 ? "-" : Math.max(...errors).toFixed(2);
  };
  const ms = (value: number) => Number.isNaN(value) ? "-" : value.toFixed(0);
  const problems: string[] = [];
  for (const { between, cutMs, joinedMs, untilMs } of partitions) {
    const before = sum(buckets, cutMs - BEFORE_MS, cutMs);
    const goodShare = AS_GOOD * before.good / before.sent;
    const backMs = goodAgainMs(buckets, joinedMs, untilMs, goodShare);
    const backAtMs = backMs === null ? untilMs : joinedMs + backMs;
    const row = (when: string, of: Bucket, fromMs: number, toMs: number, after = "") =>
      rows.push([
        ...[between, when, ...COUNTS.map((name) => `${of[name]}`)],
        ...[0.5, 0.99, 1].map((share) => ms(quantileMs(of, share))),
        ...[clockErrorMs(fromMs, toMs), after],
      ]);
    const range = (when: string, fromMs: number, toMs: number, after?: string) =>
      row(when, sum(buckets, fromMs, toMs), fromMs, toMs, after);
    range("5 s before", cutMs - BEFORE_MS, cutMs);
    range("while cut", cutMs, joinedMs);
    const again = backMs === null ? "never" : `${(backMs / 1000).toFixed(1)} s`;
    range("until as good again", joinedMs, backAtMs, again);
    range("after", backAtMs, untilMs);
    if (backMs === null) problems.push(`service did not come back after ${between} was cut`);
  }
  console.log(table(rows));
  console.log(`\nThe client connected again ${reconnects} times.`);
  problems.push(...broken(sum(buckets), strayAnswers));
  for (const problem of problems) console.error(`error: ${problem}`);
  if (problems.length > 0) Deno.exitCode = 1;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function time(flags: string, description: string, ns: number): Option {
  return new Option(flags, description).argParser(parseDuration).default(
    ns,
    ns < SECOND ? `${ns / MS}ms` : `${ns / SECOND}s`,
  );
}

await new Command("bench:network")
  .description(
    "Runs a cluster on three hosts of a made-up network, and cuts them off from each other.",
  )
  .addOption(time("--delay <time>", "from one host to another, each way", 20 * MS))
  .addOption(
    time(
      "--ahead <time>",
      "schedule_ahead of the controller: more than the way to the worker",
      40 * MS,
    ),
  )
  .option("--loss <percent>", "packets that are lost", Number, 1)
  .addOption(time("--cut <time>", "how long hosts are cut off from each other", 5 * SECOND))
  .option("--rate <n>", "requests a second", parseInteger(1, 100_000), 300)
  .addOption(time("--deadline <time>", "time allowed for each request", 500 * MS))
  .option("--verbose", "print what the processes print")
  .action(bench)
  .parseAsync(Deno.args, { from: "user" });
