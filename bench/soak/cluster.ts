/** A cluster of real processes on this machine whose workers come and go. */
import { ClockworkProcess, freePort } from "../../src/cli/demo/processes.ts";
import { type Memory, memoryOf } from "../node_memory.ts";

/** Little device memory, so that weights have to be evicted. */
const WORKER_CONFIG = "weights_cache_size = 3000000000\n";

/** Workers that are listed in the controller's file of workers; the others join by themselves. */
const LISTED = 2;

class Worker {
  readonly name: string;
  readonly listed: boolean;
  readonly port = freePort();
  readonly metricsPort = freePort();
  process: ClockworkProcess | null = null;

  constructor(number: number) {
    this.name = `worker${number}`;
    this.listed = number < LISTED;
  }
}

export class Cluster {
  readonly address: string;
  /** The first never ends before the cluster: its memory tells something. */
  readonly workers: readonly Worker[];
  readonly #directory: string;
  readonly #port = freePort();
  readonly #metricsPort = freePort();
  readonly #show: (name: string, line: string) => void;
  #controller: ClockworkProcess | null = null;

  /** `show` gets each line that a process prints. */
  constructor(workers: number, show: (name: string, line: string) => void) {
    this.#show = show;
    this.#directory = Deno.makeTempDirSync({ prefix: "clockwork-soak-" });
    this.address = `127.0.0.1:${this.#port}`;
    this.workers = Array.from({ length: workers }, (_, i) => new Worker(i));
    const listed = this.workers.filter((worker) => worker.listed);
    Deno.writeTextFileSync(
      `${this.#directory}/workers.txt`,
      listed.map(({ port }) => `127.0.0.1:${port}\n`).join(""),
    );
    Deno.writeTextFileSync(`${this.#directory}/worker.toml`, WORKER_CONFIG);
  }

  /** Starts all. */
  async start(): Promise<void> {
    const workers = `@${this.#directory}/workers.txt,join`;
    this.#controller = this.#run("controller", [
      "controller",
      "INFER4",
      workers,
      ...["--host", "127.0.0.1", "-p", `${this.#port}`, "--metrics", `${this.#metricsPort}`],
      ...["--log-file-size", "4", "--log-files", "2"],
    ]);
    await this.#controller.line(/Awaiting LoadModel/);
    for (const worker of this.workers) await this.startWorker(worker);
  }

  /** Workers that have been started. */
  get up(): readonly Worker[] {
    return this.workers.filter(({ process }) => process !== null);
  }

  async startWorker(worker: Worker): Promise<void> {
    const where = worker.listed
      ? ["--host", "127.0.0.1", "-p", `${worker.port}`]
      : ["--join", this.address];
    const process = this.#run(worker.name, [
      "worker-dummy",
      ...["-c", `${this.#directory}/worker.toml`, "--metrics", `${worker.metricsPort}`],
      ...where,
    ]);
    worker.process = process;
    await process.line(worker.listed ? /listening on/ : /Joined controller/);
  }

  async endWorker(worker: Worker, how: "SIGTERM" | "SIGKILL"): Promise<void> {
    const { process } = worker;
    worker.process = null;
    if (how === "SIGKILL") await process?.kill();
    else await process?.stop();
  }

  controllerMemory(): Promise<Memory | null> {
    return memoryOf(this.#metricsPort);
  }

  workerMemory(worker: Worker): Promise<Memory | null> {
    return worker.process === null ? Promise.resolve(null) : memoryOf(worker.metricsPort);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#controller?.stop();
    for (const { process } of this.workers) await process?.stop();
    Deno.removeSync(this.#directory, { recursive: true });
  }

  #run(name: string, args: readonly string[]): ClockworkProcess {
    const env = { CLOCKWORK_LOG_DIR: this.#directory };
    return new ClockworkProcess(name, args, { env, show: this.#show });
  }
}
