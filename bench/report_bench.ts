/**
 * Measures `clockwork report` on generated logs: time and memory of the whole process.
 *
 *     deno task bench:report [--requests 1000000] [--gpus 12] [--models 500] [--rate 2000] [--keep DIR]
 */
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { VirtualClock } from "../src/core/virtual_clock.ts";
import { ACTION_LOG, logFiles, openLog, REQUEST_LOG } from "../src/cli/logs/log_file.ts";
import { parseInteger } from "../src/cli/options/parse.ts";
import { generateLoad } from "../src/telemetry/report/generate.ts";
import { actionColumns, requestColumns } from "../src/telemetry/records.ts";
import { TsvLog } from "../src/telemetry/tsv_log.ts";

const MAIN = fileURLToPath(new URL("../main.ts", import.meta.url));
/** Large enough that nothing is lost; small enough that the logs are several files. */
const MAX_FILE_BYTES = 256e6;
const MAX_FILES = 1000;
const EPOCH_NS = 1_700_000_000_000_000_000n;

interface Options {
  readonly requests: number;
  readonly gpus: number;
  readonly models: number;
  readonly rate: number;
  readonly seed: number;
  readonly keep?: string;
}

const { requests, gpus, models, rate, seed, keep } = new Command()
  .option("--requests <n>", "requests in the log", parseInteger(1, 1e9), 1_000_000)
  .option("--gpus <n>", "GPUs", parseInteger(1, 10_000), 12)
  .option("--models <n>", "models", parseInteger(1, 1e6), 500)
  .option("--rate <n>", "requests per second", parseInteger(1, 1e6), 2000)
  .option("--seed <n>", "seed of the logs", parseInteger(0, 2 ** 32 - 1), 1)
  .option("--keep <dir>", "write logs and page there, and keep them")
  .parse(Deno.args, { from: "user" }).opts<Options>();

function generate(directory: string): void {
  const clock = new VirtualClock();
  const epochNs = (ns: number) => (EPOCH_NS + BigInt(Math.round(ns))).toString();
  const open = (name: string) => openLog(`${directory}/${name}`, MAX_FILES);
  const ofRequests = new TsvLog(clock, open(REQUEST_LOG), requestColumns(epochNs), MAX_FILE_BYTES);
  const ofActions = new TsvLog(clock, open(ACTION_LOG), actionColumns(epochNs), MAX_FILE_BYTES);
  let actions = 0;
  generateLoad(
    { seed, requests, gpus, models, requestsPerS: rate },
    (record) => ofRequests.append(record),
    (record) => {
      actions++;
      ofActions.append(record);
    },
  );
  ofRequests.close();
  ofActions.close();
  const bytes = [...Deno.readDirSync(directory)]
    .reduce((sum, { name }) => sum + Deno.statSync(`${directory}/${name}`).size, 0);
  console.log(`${requests} requests, ${actions} actions, ${(bytes / 1e6).toFixed(0)} MB of logs`);
}

/** The most memory that a process has had, in MB; where the system tells it. Needs --allow-all. */
function peakMb(pid: number): number {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    return Number(/^VmHWM:\s*(\d+) kB/m.exec(status)?.[1] ?? NaN) / 1000;
  } catch {
    return NaN;
  }
}

async function measure(directory: string, ...args: string[]): Promise<void> {
  const begin = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MAIN, "report", directory, ...args],
    stdout: "null",
    stderr: "null",
  }).spawn();
  let peak = 0;
  const timer = setInterval(() => peak = Math.max(peak, peakMb(child.pid) || 0), 20);
  const { code } = await child.status;
  clearInterval(timer);
  if (code !== 0) throw new Error(`the report ended with ${code}`);
  const seconds = (performance.now() - begin) / 1000;
  console.log(
    `report ${args[0] ?? ""}: ${seconds.toFixed(1)} s, ${peak.toFixed(0)} MB at most`,
  );
}

const directory = keep ?? await Deno.makeTempDir();
try {
  Deno.mkdirSync(directory, { recursive: true });
  // Of the time before.
  for (const name of [REQUEST_LOG, ACTION_LOG]) {
    for (const path of logFiles(directory, name)) Deno.removeSync(path);
  }
  generate(directory);
  await measure(directory);
  const page = `${directory}/report.html`;
  await measure(directory, "-o", page);
  console.log(`the page has ${(Deno.statSync(page).size / 1e6).toFixed(1)} MB`);
} finally {
  if (keep === undefined) await Deno.remove(directory, { recursive: true });
}
