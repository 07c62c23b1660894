/** Starts Clockwork processes, shows their output with a prefix, and makes sure that they end. */
import { RUN_SELF } from "../run_self.ts";
import { readLines } from "./lines.ts";

/** How long a process may take to end when asked to; then it is killed. */
const GRACE_MS = 5_000;
const NAME_WIDTH = "controller".length;

/** Prints a line as the named process's. */
export function show(name: string, line: string): void {
  console.log(`${name.padEnd(NAME_WIDTH)} | ${line}`);
}

export interface ProcessOptions {
  /** Besides the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Gets each line with the process's name; by default it is printed. */
  readonly show?: (name: string, line: string) => void;
  /** Of Deno, besides those that the program always has. */
  readonly flags?: readonly string[];
  /** A program that runs another, with its arguments: `ip netns exec NAME` does. It must be that process then. */
  readonly via?: readonly string[];
}

export class ClockworkProcess {
  readonly name: string;
  /** Resolves to the exit code when the process has ended and all its lines are shown. */
  readonly ended: Promise<number>;
  readonly #child: Deno.ChildProcess;
  readonly #show: (name: string, line: string) => void;
  readonly #waiting: { pattern: RegExp; resolve: (line: string) => void }[] = [];
  #running = true;

  /** Starts `clockwork ARGS…`. */
  constructor(name: string, args: readonly string[], options: ProcessOptions = {}) {
    const [run, ...self] = RUN_SELF;
    this.name = name;
    this.#show = options.show ?? show;
    const [program, ...before] = [...options.via ?? [], Deno.execPath()];
    this.#child = new Deno.Command(program!, {
      args: [...before, run!, ...options.flags ?? [], ...self, ...args],
      env: { ...options.env, NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const shown = [this.#child.stdout, this.#child.stderr].map((stream) =>
      readLines(stream, (line) => this.#onLine(line))
    );
    this.ended = Promise.all([this.#child.status, ...shown]).then(([status]) => {
      this.#running = false;
      return status.code;
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves to the first line from now on that matches; rejects if the process ends before. */
  line(pattern: RegExp): Promise<string> {
    const found = new Promise<string>((resolve) => this.#waiting.push({ pattern, resolve }));
    const ended = this.ended.then((code) => {
      throw new Error(`the ${this.name} ended (exit code ${code}) before it said ${pattern}`);
    });
    return Promise.race([found, ended]);
  }

  /** Asks the process to end, and kills it when it does not. */
  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#signal("SIGTERM");
    const timer = setTimeout(() => {
      show("demo", `the ${this.name} did not end within ${GRACE_MS / 1000} s: killing it`);
      this.#signal("SIGKILL");
    }, GRACE_MS);
    await this.ended;
    clearTimeout(timer);
  }

  /** Ends the process as a crash does. */
  async kill(): Promise<void> {
    this.#signal("SIGKILL");
    await this.ended;
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has just ended.
    }
  }

  #onLine(line: string): void {
    this.#show(this.name, line);
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      const { pattern, resolve } = this.#waiting[i]!;
      if (!pattern.test(line)) continue;
      this.#waiting.splice(i, 1);
      resolve(line);
    }
  }
}

/**
 * A TCP port that nobody listens on now. Not one that a system would choose: it also gives those to outgoing
 * connections, and to whoever asks next.
 */
export function freePort(): number {
  for (let tries = 1;; tries++) {
    const port = 10_000 + Math.floor(20_000 * Math.random());
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (tries === 100) throw error;
    }
  }
}
