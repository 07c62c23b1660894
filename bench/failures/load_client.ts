import { fileURLToPath } from "node:url";
import { readLines } from "../../src/cli/demo/lines.ts";
import type { Bucket } from "./timeline.ts";

export interface LoadOptions {
  readonly address: string;
  /** Of resnet50_v2, that it loads. */
  readonly copies: number;
  /** Requests a second. */
  readonly rate: number;
  readonly deadlineMs: number;
  readonly env?: Readonly<Record<string, string>>;
  /** A program that runs it. */
  readonly via?: readonly string[];
  /** Gets what it says of its connection. */
  readonly onLine: (line: string) => void;
}

/** A client process under load, see load.ts, and what it has told. */
export class LoadClient {
  readonly buckets: Bucket[] = [];
  strayAnswers = 0;
  reconnects = 0;
  readonly #child: Deno.ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #started = Promise.withResolvers<void>();

  constructor({ address, copies, rate, deadlineMs, env, via = [], onLine }: LoadOptions) {
    const [program, ...args] = [
      ...[...via, Deno.execPath(), "run", "--allow-net", "--allow-read", "--allow-env"],
      fileURLToPath(new URL("load.ts", import.meta.url)),
      ...[address, `${copies}`, `${rate}`, `${deadlineMs}`],
    ];
    this.#child = new Deno.Command(program!, {
      args,
      ...(env === undefined ? {} : { env }),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const read = [
      readLines(this.#child.stdout, (line) => {
        const { strayAnswers, reconnects, ...bucket } = JSON.parse(line);
        this.buckets.push(bucket);
        this.strayAnswers = strayAnswers;
        this.reconnects = reconnects;
        this.#started.resolve();
      }),
      readLines(this.#child.stderr, onLine),
    ];
    this.#ended = Promise.all([this.#child.status, ...read]);
    this.#ended.then(() => this.#started.reject(new Error("a client ended before it began")));
  }

  /** Resolves when its first requests have settled. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Resolves when all its requests have settled, or should have, and it has told so. */
  async stop(): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await this.#ended;
  }
}
