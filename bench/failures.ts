/**
 * Kills a worker, the controller and a client with SIGKILL, one after the other, under load, and starts
 * each again: real processes over TCP. Prints the outcomes of requests before, during and after, and fails
 * if one was lost or settled twice.
 *
 *     deno task bench:failures [--rate 1000] [--down 1s] [--verbose]
 */
import { Command } from "commander";
import { MS } from "../src/core/clock.ts";
import { ClockworkProcess, freePort, show } from "../src/cli/demo/processes.ts";
import { parseDuration, parseInteger } from "../src/cli/options/parse.ts";
import { LoadClient } from "./failures/load_client.ts";
import { broken, type Bucket, COUNTS, goodAgainMs, sum, table } from "./failures/timeline.ts";

const WORKERS = 2;
const CLIENTS = 2;
/** Copies of resnet50_v2 that each client loads. */
const COPIES = 5;
const DEADLINE_MS = 100;
/** The share of requests that is good when service is. */
const GOOD_SHARE = 0.99;
const STEADY_MS = 4000;
const AFTER_MS = 6000;
/** Service should be back so soon after a process has been started again. */
const AIM_MS = 2000;
const HOST = "127.0.0.1";

interface Options {
  readonly rate: number;
  /** In nanoseconds. */
  readonly down: number;
  readonly verbose?: true;
}

/** A process that is killed and started again. */
interface Fault {
  readonly name: string;
  readonly killedMs: number;
  readonly startedMs: number;
  readonly untilMs: number;
}

class Cluster implements AsyncDisposable {
  readonly address: string;
  readonly #directory = Deno.makeTempDirSync({ prefix: "clockwork-failures-" });
  readonly #ports = Array.from({ length: WORKERS }, () => freePort());
  readonly #show: (name: string, line: string) => void;
  readonly #port = freePort();
  readonly #running = new Set<ClockworkProcess>();
  readonly clients: LoadClient[] = [];

  constructor(verbose: boolean) {
    this.#show = verbose ? show : () => {};
    this.address = `${HOST}:${this.#port}`;
  }

  async worker(number: number): Promise<ClockworkProcess> {
    const where = ["--host", HOST, "-p", `${this.#ports[number]}`];
    const process = this.#run(`worker ${number}`, ["worker-dummy", "-n", "2", ...where]);
    await process.line(/listening on/);
    return process;
  }

  async controller(): Promise<ClockworkProcess> {
    const workers = this.#ports.map((port) => `${HOST}:${port}`).join(",");
    const process = this.#run("controller", [
      ...["controller", "INFER4", workers, "--host", HOST, "-p", `${this.#port}`],
      ...["--state-dir", `${this.#directory}/state`],
    ]);
    await process.line(/listening for clients/);
    return process;
  }

  client(rate: number): LoadClient {
    const name = `client ${this.clients.length}`;
    const client = new LoadClient({
      address: this.address,
      copies: COPIES,
      rate,
      deadlineMs: DEADLINE_MS,
      onLine: (line) => this.#show(name, line),
    });
    this.clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.clients) await client.stop();
    for (const one of [...this.#running].toReversed()) await one.stop();
    Deno.removeSync(this.#directory, { recursive: true });
  }

  #run(name: string, args: readonly string[]): ClockworkProcess {
    const process = new ClockworkProcess(name, args, {
      env: { CLOCKWORK_LOG_DIR: `${this.#directory}/logs` },
      show: this.#show,
    });
    this.#running.add(process);
    process.ended.then(() => this.#running.delete(process));
    return process;
  }
}

async function bench({ rate, down, verbose }: Options): Promise<void> {
  const downMs = down / MS;
  await using cluster = new Cluster(verbose === true);
  const workers: ClockworkProcess[] = [];
  for (let i = 0; i < WORKERS; i++) workers.push(await cluster.worker(i));
  let controller = await cluster.controller();
  const perClient = rate / CLIENTS;
  const clients = Array.from({ length: CLIENTS }, () => cluster.client(perClient));
  await Promise.all(clients.map(({ started }) => started));

  const faults: Fault[] = [];
  const fault = async (name: string, kill: () => unknown, start: () => unknown) => {
    await sleep(STEADY_MS);
    const killedMs = Date.now();
    await kill();
    await sleep(downMs);
    const startedMs = Date.now();
    // The time until it serves counts from here.
    start();
    await sleep(AFTER_MS);
    faults.push({ name, killedMs, startedMs, untilMs: Date.now() });
    console.error(`${name}: killed, and started again`);
  };
  await sleep(1000);
  await fault("worker", () => workers[0]!.kill(), () => cluster.worker(0));
  await fault("controller", () => controller.kill(), async () => {
    controller = await cluster.controller();
  });
  await fault("client", () => clients[0]!.kill(), () => cluster.client(perClient));
  for (const client of cluster.clients) await client.stop();
  report(faults, cluster.clients);
}

function report(faults: readonly Fault[], clients: readonly LoadClient[]): void {
  // A client that was killed told what had settled by then; of the rest nobody can be told.
  const buckets = clients.flatMap((client) => client.buckets);
  const rows: (readonly string[])[] = [["killed", "when", ...COUNTS, "good again after"]];
  const problems: string[] = [];
  for (const { name, killedMs, startedMs, untilMs } of faults) {
    const backMs = goodAgainMs(buckets, startedMs, untilMs, GOOD_SHARE);
    const backAtMs = backMs === null ? untilMs : startedMs + backMs;
    const row = (when: string, of: Bucket, after = "") =>
      rows.push([name, when, ...COUNTS.map((column) => `${of[column]}`), after]);
    row("4 s before", sum(buckets, killedMs - STEADY_MS, killedMs));
    row("while down", sum(buckets, killedMs, startedMs));
    const again = backMs === null ? "never" : `${(backMs / 1000).toFixed(1)} s`;
    row("until good again", sum(buckets, startedMs, backAtMs), again);
    row("after", sum(buckets, backAtMs, untilMs));
    if (backMs === null) problems.push(`service did not come back after the ${name} did`);
    else if (backMs > AIM_MS) console.error(`${name}: ${again} is more than the 2 s aimed at`);
  }
  console.log(table(rows));
  const all = sum(buckets);
  const stray = clients.reduce((total, { strayAnswers }) => total + strayAnswers, 0);
  const reconnects = clients.map((client) => client.reconnects).join(", ");
  console.log(
    `\n${all.sent} requests, each with ${DEADLINE_MS} ms: settled twice ${all.twice}, ` +
      `never settled ${all.waiting}; answers that nobody waited for ${stray}; ` +
      `connections made again by each client ${reconnects}`,
  );
  problems.push(...broken(all, stray));
  for (const problem of problems) console.error(`error: ${problem}`);
  if (problems.length > 0) Deno.exitCode = 1;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

await new Command("bench:failures")
  .description("Kills processes of a cluster under load, and shows what became of each request.")
  .option("--rate <n>", "requests a second in all", parseInteger(2, 100_000), 1000)
  .option("--down <time>", "from killing to starting again", parseDuration, 1000 * MS)
  .option("--verbose", "print what the processes print")
  .action(bench)
  .parseAsync(Deno.args, { from: "user" });
