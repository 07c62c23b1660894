/** A small cluster of real processes, and the service that a client gets while others put load on it. */
import { ClockworkProcess, freePort, show } from "../src/cli/demo/processes.ts";
import { type Memory, memoryOf } from "./node_memory.ts";

export type NodeName = "controller" | "worker" | "gateway";

export interface Cluster {
  /** Whether there is a gateway too. */
  readonly gateway?: boolean;
  /** Arguments of the worker. */
  readonly worker: readonly string[];
  /** Arguments of the controller, besides its scheduler, workers and ports. */
  readonly controller?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Arguments of the client, besides its address. */
  readonly workload: readonly string[];
}

/** What the client prints last. */
export interface Summary {
  readonly requests: number;
  readonly in_time: number;
  readonly duration_s: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
}

/** A controller and a worker that others burden while a client is served. */
export class Nodes {
  readonly #cluster: Cluster;
  readonly #all: ClockworkProcess[] = [];
  readonly #env: Record<string, string>;
  readonly #directory = Deno.makeTempDirSync({ prefix: "clockwork-fuzz-" });
  readonly #show: (name: string, line: string) => void;
  readonly port: Readonly<Record<NodeName, number>> = {
    worker: freePort(),
    controller: freePort(),
    gateway: freePort(),
  };
  /** The ports at which nodes tell their metrics. */
  readonly #metrics = new Map<NodeName, number>();

  /** Without `verbose`, only what nodes print of faults of their own is shown. */
  constructor(cluster: Cluster, token: string, verbose: boolean) {
    this.#cluster = cluster;
    this.#env = { ...cluster.env, CLOCKWORK_TOKEN: token, CLOCKWORK_LOG_DIR: this.#directory };
    this.#show = verbose ? show : (name, line) => {
      if (/internal error|error while serving|Uncaught/.test(line)) show(name, line);
    };
  }

  #run(name: string, args: readonly string[], onLine = this.#show): ClockworkProcess {
    const process = new ClockworkProcess(name, args, { env: this.#env, show: onLine });
    this.#all.push(process);
    return process;
  }

  async start(): Promise<void> {
    const listen = (node: "worker" | "controller") => {
      const metrics = freePort();
      this.#metrics.set(node, metrics);
      return ["--host", "127.0.0.1", "-p", `${this.port[node]}`, "--metrics", `${metrics}`];
    };
    const uploads = ["--upload-dir", `${this.#directory}/uploads`];
    await this.#run("worker", [...this.#cluster.worker, ...listen("worker"), ...uploads]).line(
      /listening on/,
    );
    const workers = `127.0.0.1:${this.port.worker},join`;
    const more = this.#cluster.controller ?? [];
    const controller = ["controller", "INFER4", workers, ...listen("controller"), ...more];
    await this.#run("controller", controller).line(/Awaiting LoadModel/);
    if (!this.#cluster.gateway) return;
    const where = [`127.0.0.1:${this.port.controller}`, "--port", `${this.port.gateway}`];
    this.#metrics.set("gateway", this.port.gateway);
    await this.#run("gateway", ["gateway", ...where]).line(/http:/);
  }

  /** Fails when one of them has ended. */
  async memory(): Promise<Map<NodeName, Memory>> {
    const found = new Map<NodeName, Memory>();
    for (const [node, port] of this.#metrics) {
      const memory = await memoryOf(port);
      if (memory === null) throw new Error(`the ${node} does not answer any more`);
      found.set(node, memory);
    }
    return found;
  }

  /** Runs the client until `end` resolves. */
  async serve(end: Promise<unknown>): Promise<Summary> {
    let summary: Summary | undefined;
    const client = this.#run(
      "client",
      ["client", `127.0.0.1:${this.port.controller}`, ...this.#cluster.workload, "--json"],
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

/** Prints what a client got. */
export function printServed(when: string, summary: Summary): void {
  const { requests, in_time, duration_s, p50_ms, p99_ms } = summary;
  const share = 100 * in_time / requests;
  console.log(
    `  served ${when}: ${(in_time / duration_s).toFixed(1)} requests/s in time, ` +
      `${share.toFixed(2)} %; p50 ${p50_ms.toFixed(1)} ms, p99 ${p99_ms.toFixed(1)} ms`,
  );
}

export function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
}

/** In megabytes. */
export function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
