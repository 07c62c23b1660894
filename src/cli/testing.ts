/** For tests: Clockwork's programs as processes of their own, as a user runs them. */
import assert from "node:assert/strict";
import { freePort } from "./demo/processes.ts";
import { RUN_SELF } from "./run_self.ts";

/** After this, a test that hangs is made to fail: its processes are killed. */
const HANG_MS = 90_000;

export const HOST = "127.0.0.1";

/** The processes of one test; none outlives it. */
export class Processes {
  readonly #all: Process[] = [];
  /** Without one of its own, a controller would empty the logs in this machine's default directory. */
  readonly #logs = Deno.makeTempDirSync();
  readonly #guard = setTimeout(() => this.#all.forEach((process) => process.kill()), HANG_MS);

  start(args: readonly string[], env: Record<string, string> = {}): Process {
    const process = new Process(args, { CLOCKWORK_LOG_DIR: this.#logs, ...env });
    this.#all.push(process);
    return process;
  }

  /** Starts a controller whose WORKERS argument is given, and waits until it can load models. */
  async controllerOf(workers: string, more: readonly string[] = []) {
    const port = freePort();
    const where = ["--host", HOST, "-p", `${port}`, "--default-slo", `${30e9}`];
    const process = this.start(["controller", "INFER4", workers, ...where, ...more]);
    await process.printed("(Startup-3)");
    return { process, port, address: `${HOST}:${port}` };
  }

  /** Starts a worker and waits until it listens. */
  async worker(args: readonly string[] = ["worker-dummy"], env: Record<string, string> = {}) {
    const port = freePort();
    const process = this.start([...args, "--host", HOST, "-p", `${port}`], env);
    await process.printed("IO service thread listening on");
    return { process, port, address: `${HOST}:${port}` };
  }

  /**
   * Starts a controller of these workers and waits until it can load models. Requests have much time:
   * a busy machine must not fail a test.
   */
  async controller(
    workers: readonly { readonly address: string }[],
    env: Record<string, string> = {},
  ) {
    const port = freePort();
    const addresses = workers.map(({ address }) => address).join(",");
    const where = ["--host", HOST, "-p", `${port}`, "--default-slo", `${30e9}`];
    const process = this.start(["controller", "INFER4", addresses, ...where], env);
    await process.printed("(Startup-3)");
    return { process, port, address: `${HOST}:${port}` };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#guard);
    await Promise.all(this.#all.map((process) => {
      process.kill();
      return process.ended;
    }));
    await Deno.remove(this.#logs, { recursive: true });
  }
}

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Process {
  /** Resolves when it has ended and all that it printed has been read. */
  readonly ended: Promise<Ended>;
  readonly #child: Deno.ChildProcess;
  readonly #args: readonly string[];
  #stdout = "";
  #stderr = "";
  #running = true;
  #changed = Promise.withResolvers<void>();

  /** `runner` is what Deno is called with to run the program. */
  constructor(
    args: readonly string[],
    env: Record<string, string>,
    runner: readonly string[] = RUN_SELF,
  ) {
    this.#args = args;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [...runner, ...args],
      env: {
        NO_COLOR: "1",
        CLOCKWORK_MODEL_DIR: "",
        CLOCKWORK_CONFIG_FILE: "",
        CLOCKWORK_TOKEN: "",
        CLOCKWORK_HTTP_TOKEN: "",
        CLOCKWORK_TLS_CERT: "",
        CLOCKWORK_TLS_KEY: "",
        CLOCKWORK_TLS_CA: "",
        CLOCKWORK_DISABLE_INPUTS: "",
        ...env,
      },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const read = [
      this.#read(this.#child.stdout, (text) => this.#stdout += text),
      this.#read(this.#child.stderr, (text) => this.#stderr += text),
    ];
    this.ended = Promise.all([this.#child.status, ...read]).then(([{ code }]) => {
      this.#running = false;
      this.#changed.resolve();
      return { code, stdout: this.#stdout, stderr: this.#stderr };
    });
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Resolves when `what` has been printed, on stdout or stderr; fails when the process ends without. */
  async printed(what: string | RegExp): Promise<void> {
    while (!this.#has(what)) {
      if (!this.#running) {
        assert.fail(
          `${this.#args.join(" ")} ended without ${what}:\n${this.#stdout}${this.#stderr}`,
        );
      }
      await this.#changed.promise;
    }
  }

  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  kill(): void {
    try {
      this.#child.kill("SIGKILL");
    } catch (error) {
      // It has ended already, though not all that it printed may have been read.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  #has(what: string | RegExp): boolean {
    return [this.#stdout, this.#stderr].some((text) =>
      typeof what === "string" ? text.includes(what) : what.test(text)
    );
  }

  async #read(stream: ReadableStream<Uint8Array>, take: (text: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      take(decoder.decode(bytes, { stream: true }));
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    }
  }
}
