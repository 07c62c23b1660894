/**
 * Runs a small cluster of emulated GPUs for a long time at 70 % load, while workers are stopped, killed and
 * started again, and models are loaded and unloaded. Ends with 0 if every request was answered and no
 * process has grown.
 *
 *     deno task soak [--duration 1h] [--out soak.tsv]
 */
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { Command } from "commander";
import { connect } from "../src/client/mod.ts";
import { ModelDir } from "../src/client/model_dir.ts";
import { SECOND } from "../src/core/clock.ts";
import { Random } from "../src/core/random.ts";
import { parseDuration, parseInteger } from "../src/cli/options/parse.ts";
import type { Memory } from "./node_memory.ts";
import { Cluster } from "./soak/cluster.ts";
import { type Kind, Load } from "./soak/load.ts";
import { type Point, trendOf } from "./soak/trend.ts";

const WORKERS = 4;
/** Of the GPUs that are up. */
const LOAD = 0.7;
/** Only models that take a GPU this long are used: fewer requests keep it as busy, and the CPU less. */
const MIN_EXEC_MS = 8;
const MAX_EXEC_MS = 25;
const SAMPLE_MS = 10_000;
/** Mean times from one change to the next. */
const WORKER_CHANGE_MS = 20_000;
const MODEL_CHANGE_MS = 15_000;
/** The part of the run after which memory is looked at: caches have filled and code is compiled by then. */
const WARM = 1 / 3;
const DRAIN_MS = 15_000;

interface Options {
  /** In nanoseconds. */
  readonly duration: number;
  readonly out: string;
  readonly seed: number;
}

/** A process whose memory is looked at: those that live through the whole run. */
interface Watched {
  readonly name: string;
  readonly read: () => Promise<Memory | null>;
  readonly resident: Point[];
  readonly heap: Point[];
  cpuS: number;
}

const COLUMNS = [
  "time_s",
  "controller_rss",
  "controller_heap",
  "controller_cpu_s",
  "worker_rss",
  "worker_heap",
  "worker_cpu_s",
  "client_rss",
  "client_heap",
  "workers",
  "models",
  "sent",
  "good",
  "failed",
  "waiting",
  "unanswered",
];

async function soak({ duration, out, seed }: Options): Promise<boolean> {
  const durationMs = duration / SECOND * 1000;
  const random = new Random(seed);
  using log = Deno.openSync(`${out}.log`, { create: true, write: true, truncate: true });
  using table = Deno.openSync(out, { create: true, write: true, truncate: true });
  const encoder = new TextEncoder();
  const say = (line: string) => {
    console.log(line);
    log.writeSync(encoder.encode(`${new Date().toISOString()} soak | ${line}\n`));
  };
  await using cluster = new Cluster(WORKERS, (name, line) => {
    log.writeSync(encoder.encode(`${new Date().toISOString()} ${name} | ${line}\n`));
  });
  await cluster.start();
  const client = await connect(cluster.address);
  const load = new Load(client, kinds(), random.fork());
  await load.begin();
  say(`${WORKERS} workers of one GPU each, at ${100 * LOAD} % for ${durationMs / 1000} s`);

  const beginMs = performance.now();
  const leftMs = () => beginMs + durationMs - performance.now();
  const stopping = new AbortController();
  const { signal } = stopping;
  const onSignal = () => stopping.abort();
  for (const name of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(name, onSignal);
  // Not a race with a promise of the end: that would keep something of each pause until then.
  const pause = (ms: number) => setTimeout(ms, undefined, { signal }).catch(() => {});
  load.run(LOAD, () => cluster.up.length);

  const changeWorkers = async () => {
    while (!signal.aborted) {
      await pause(random.exponential(WORKER_CHANGE_MS));
      if (signal.aborted) return;
      const worker = cluster.workers[1 + random.below(WORKERS - 1)]!;
      if (worker.process === null) await cluster.startWorker(worker);
      else await cluster.endWorker(worker, random.below(2) === 0 ? "SIGTERM" : "SIGKILL");
    }
  };
  const changeModels = async () => {
    while (!signal.aborted) {
      await pause(random.exponential(MODEL_CHANGE_MS));
      if (!signal.aborted) await load.changeModels();
    }
  };
  const changes = [changeWorkers(), changeModels()];

  const watched: Watched[] = [
    { name: "controller", read: () => cluster.controllerMemory() },
    { name: "worker", read: () => cluster.workerMemory(cluster.workers[0]!) },
    { name: "client", read: ownMemory },
  ].map((one) => ({ ...one, resident: [], heap: [], cpuS: 0 }));
  table.writeSync(encoder.encode(COLUMNS.join("\t") + "\n"));
  const sample = async () => {
    const memories = await Promise.all(watched.map(({ read }) => read()));
    const seconds = (performance.now() - beginMs) / 1000;
    for (const [i, memory] of memories.entries()) {
      if (memory === null) continue;
      const one = watched[i]!;
      one.cpuS = memory.cpuS;
      if (seconds * 1000 < WARM * durationMs) continue;
      one.resident.push({ hours: seconds / 3600, value: memory.residentBytes });
      one.heap.push({ hours: seconds / 3600, value: memory.heapBytes });
    }
    const [controller, worker, own] = memories;
    const failed = [...load.failures.values()].reduce((sum, count) => sum + count, 0);
    const row = [
      seconds.toFixed(1),
      ...[controller, worker].flatMap((m) => [m?.residentBytes, m?.heapBytes, m?.cpuS.toFixed(2)]),
      ...[own?.residentBytes, own?.heapBytes],
      ...[cluster.up.length, load.models, load.sent, load.good, failed],
      ...[load.waiting, load.unanswered],
    ];
    table.writeSync(encoder.encode(row.map((cell) => cell ?? "").join("\t") + "\n"));
  };
  while (leftMs() > 0 && !signal.aborted) {
    await pause(Math.min(SAMPLE_MS, leftMs()));
    await sample();
  }
  const elapsedS = (performance.now() - beginMs) / 1000;
  load.stop();
  stopping.abort();
  await Promise.all(changes);
  const drainedMs = performance.now() + DRAIN_MS;
  while (load.waiting > 0 && performance.now() < drainedMs) await setTimeout(100);
  const unanswered = load.waiting;
  await client.close();
  for (const name of ["SIGINT", "SIGTERM"] as const) Deno.removeSignalListener(name, onSignal);

  say(
    `${load.sent} requests in ${elapsedS.toFixed(0)} s: ${load.good} good, ` +
      `${unanswered} unanswered; ${load.loads} loads, ${load.unloads} unloads`,
  );
  for (const [why, count] of [...load.failures].sort((a, b) => b[1] - a[1])) {
    say(`  ${count} × ${why}`);
  }
  for (const fault of load.faults) say(`  a model: ${fault}`);
  return verdicts(watched, elapsedS, say) && unanswered === 0;
}

/** Says how the memory of each process went; whether none has grown. */
function verdicts(
  watched: readonly Watched[],
  elapsedS: number,
  say: (line: string) => void,
): boolean {
  let flat = true;
  for (const { name, resident, heap, cpuS } of watched) {
    if (resident.length < 2) {
      say(`${name}: too few samples to tell`);
      continue;
    }
    for (const [what, points] of [["resident", resident], ["heap", heap]] as const) {
      const { mean, min, max, perHour, low, high, grows } = trendOf(points);
      flat &&= !grows;
      say(
        `${name} ${what}: ${mb(mean)} MB on average, ${mb(min)} to ${mb(max)}; floor ` +
          `${mb(perHour)} MB an hour (${mb(low)} to ${mb(high)}): ${grows ? "GROWS" : "flat"}`,
      );
    }
    say(`${name}: ${(100 * cpuS / elapsedS).toFixed(1)} % of a core`);
  }
  return flat;
}

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

function ownMemory(): Promise<Memory> {
  const { rss, heapUsed } = Deno.memoryUsage();
  const { user, system } = process.cpuUsage();
  return Promise.resolve({
    residentBytes: rss,
    heapBytes: heapUsed,
    cpuS: (user + system) / 1e6,
  });
}

/** Models of the zoo that take long enough, by their profiles. */
function kinds(): Kind[] {
  const directory = new URL("../config/modelzoo/", import.meta.url);
  const found: Kind[] = [];
  for (const path of ModelDir.read(directory.pathname).names) {
    const profile = JSON.parse(Deno.readTextFileSync(new URL(`${path}/model.json`, directory)));
    const execMs = profile.profiles.v100.exec_ns[1] / 1e6;
    if (execMs >= MIN_EXEC_MS && execMs <= MAX_EXEC_MS) found.push({ path, execMs });
  }
  return found;
}

const options = new Command()
  .option("--duration <time>", "how long", parseDuration, 3600 * SECOND)
  .option("--out <file>", "samples, as TSV; what processes print goes to FILE.log", "soak.tsv")
  .option("--seed <n>", "of requests and changes", parseInteger(0, 2 ** 32 - 1), 1)
  .parse(Deno.args, { from: "user" }).opts<Options>();
Deno.exit(await soak(options) ? 0 : 1);
