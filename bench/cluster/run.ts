/** Clusters of real processes on this machine, with figures of what they did. */
import { join } from "node:path";
import { connect } from "../../src/client/mod.ts";
import { ModelDir } from "../../src/client/model_dir.ts";
import { ClockworkProcess, freePort, type ProcessOptions } from "../../src/cli/demo/processes.ts";
import { LOAD, type Scenario } from "./scenarios.ts";

export interface BenchOptions {
  /** How long each workload runs, in seconds. */
  readonly durationS: number;
  /** Gets what the processes print. */
  readonly show: (name: string, line: string) => void;
  /** V8's flags, for all processes. */
  readonly v8Flags: readonly string[];
}

export interface Outcome {
  readonly requests: number;
  /** Answered with success within 100 ms, as the client saw it. */
  readonly good: number;
  readonly durationS: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU time of the controller for a request, in microseconds; null where it is not told. */
  readonly controllerCpuUs: number | null;
  /** The controller's last line about pauses of its event loop, if it printed one. */
  readonly pauses: string | null;
}

/** What the client's last line of JSON has. */
interface ClientSummary {
  readonly type: "summary";
  readonly requests: number;
  readonly in_time: number;
  readonly duration_s: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly dropped: number;
}

class Cluster implements AsyncDisposable {
  readonly port = freePort();
  controller!: ClockworkProcess;
  #onController: (line: string) => void = () => {};
  readonly #processes: ClockworkProcess[] = [];
  readonly #directory = Deno.makeTempDirSync({ prefix: "clockwork-bench-" });
  readonly #options: BenchOptions;

  private constructor(options: BenchOptions) {
    this.#options = options;
  }

  /** Starts workers with so many GPUs each and a controller, which then waits for models. */
  static async start(gpus: readonly number[], options: BenchOptions): Promise<Cluster> {
    const cluster = new Cluster(options);
    try {
      const addresses: string[] = [];
      for (const n of gpus) {
        const port = freePort();
        const worker = cluster.run("worker", ["worker-dummy", "-n", `${n}`, "-p", `${port}`]);
        await worker.line(/listening on/);
        addresses.push(`127.0.0.1:${port}`);
      }
      const args = ["controller", "INFER4", addresses.join(","), "-p", `${cluster.port}`];
      cluster.controller = cluster.run("controller", args, {
        env: { CLOCKWORK_LOG_DIR: join(cluster.#directory, "logs") },
        show: (name, line) => {
          cluster.#onController(line);
          options.show(name, line);
        },
      });
      await cluster.controller.line(/Awaiting LoadModel/);
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  set onController(onLine: (line: string) => void) {
    this.#onController = onLine;
  }

  run(name: string, args: readonly string[], options: ProcessOptions = {}): ClockworkProcess {
    const { show, v8Flags } = this.#options;
    const flags = v8Flags.length === 0 ? [] : [`--v8-flags=${v8Flags.join(",")}`];
    const started = new ClockworkProcess(name, args, { show, flags, ...options });
    this.#processes.push(started);
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#processes.toReversed()) await one.stop();
    Deno.removeSync(this.#directory, { recursive: true });
  }
}

/** Runs a workload. */
export async function runScenario(scenario: Scenario, options: BenchOptions): Promise<Outcome> {
  await using cluster = await Cluster.start(scenario.gpus, options);
  let pauses: string | null = null;
  let cpuBefore: number | null = null;
  cluster.onController = (line) => {
    if (line.startsWith("Pauses ")) pauses = line;
    // The loading of models comes before; what a request costs is wanted.
    if (line.includes("Admitting inference requests")) {
      cpuBefore ??= cpuSeconds(cluster.controller.pid);
    }
  };
  let summary: ClientSummary | null = null;
  const args = ["client", `127.0.0.1:${cluster.port}`, ...scenario.workload];
  const client = cluster.run(
    "client",
    [...args, "--slo", "100ms", "--duration", `${options.durationS}s`, "--json"],
    {
      env: scenario.inputs ? {} : { CLOCKWORK_DISABLE_INPUTS: "1" },
      show: (name, line) => {
        options.show(name, line);
        if (line.startsWith('{"type":"summary"')) summary = JSON.parse(line);
      },
    },
  );
  const code = await client.ended;
  const cpuAfter = cpuSeconds(cluster.controller.pid);
  if (code !== 0 || summary === null) throw new Error(`${scenario.name}: the client failed`);
  const { requests, in_time, duration_s, p50_ms, p99_ms, dropped } = summary as ClientSummary;
  return {
    // A request that the client could not send in time was asked for all the same.
    requests: requests + dropped,
    good: in_time,
    durationS: duration_s,
    p50Ms: p50_ms,
    p99Ms: p99_ms,
    controllerCpuUs: cpuBefore === null || cpuAfter === null
      ? null
      : 1e6 * (cpuAfter - cpuBefore) / requests,
    pauses,
  };
}

/** Loads as many models as `azure` does; returns how many, and in how many seconds. */
export async function runLoad(options: BenchOptions): Promise<{ models: number; seconds: number }> {
  await using cluster = await Cluster.start(LOAD.gpus, options);
  const clockwork = await connect(`127.0.0.1:${cluster.port}`);
  try {
    const { names } = ModelDir.read(new URL("../../config/modelzoo", import.meta.url).pathname);
    const beginMs = performance.now();
    const loaded = await Promise.all(names.map((name) => clockwork.loadModel(name, LOAD.copies)));
    const seconds = (performance.now() - beginMs) / 1000;
    return { models: loaded.flat().length, seconds };
  } finally {
    await clockwork.close();
  }
}

/** CPU time that a process has used so far; null on systems other than Linux. */
function cpuSeconds(pid: number): number | null {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // After the name in parentheses, which may have spaces: fields 14 and 15 are user and system time.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return null;
  }
}
