/** The workers as a user meets them: what they print, and how they end. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { SystemClock } from "../core/system_clock.ts";
import type { Link } from "../wire/link.ts";
import type { AnyMessage } from "../wire/messages.ts";
import { connect } from "../wire/tcp.ts";
import { freePort } from "./demo/processes.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
const HOST = "127.0.0.1";

class Clockwork {
  readonly #child: Deno.ChildProcess;
  readonly #out: Promise<void>;
  #stdout = "";
  #changed = Promise.withResolvers<void>();
  readonly #stderr: Promise<string>;

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-net", "--allow-read", "--allow-env", MAIN, ...args],
      env: { NO_COLOR: "1", CLOCKWORK_MODEL_DIR: "", CLOCKWORK_CONFIG_FILE: "", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#stderr = new Response(this.#child.stderr).text();
    this.#out = this.#read();
  }

  async #read(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      this.#stdout += text;
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    }
    this.#changed.resolve();
  }

  /** Resolves when `text` has been printed; fails when the process ends without it. */
  async printed(text: string): Promise<void> {
    let ended = false;
    this.#out.then(() => ended = true);
    while (!this.#stdout.includes(text)) {
      if (ended) throw new Error(`ended without ${text}: ${this.#stdout}${await this.#stderr}`);
      await Promise.race([this.#changed.promise, this.#out]);
    }
  }

  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  async ended(): Promise<{ code: number; stdout: string; stderr: string }> {
    const { code } = await this.#child.status;
    await this.#out;
    return { code, stdout: this.#stdout, stderr: await this.#stderr };
  }
}

Deno.test("worker-dummy serves a controller over TCP, and ends well when told to", async () => {
  const port = freePort();
  const worker = new Clockwork(["worker-dummy", "-n", "2", "-p", `${port}`]);
  await worker.printed(`IO service thread listening on 0.0.0.0:${port}\n`);
  const clock = new SystemClock();
  const results: AnyMessage[] = [];
  const closed = Promise.withResolvers<string>();
  let link!: Link;
  await connect(
    { hostname: HOST, port },
    clock,
    { role: "controller", peerRoles: ["worker"] },
    (made) => {
      link = made;
      return { onMessage: (message) => results.push(message), onClose: closed.resolve };
    },
  );
  link.send("GetWorkerState", 0, {});
  await worker.printed("models=\n\n");
  // Another one cannot have the port, and harms nobody.
  const second = await new Clockwork(["worker-dummy", "-p", `${port}`]).ended();
  assert.equal(second.code, 1);
  assert.match(second.stderr, new RegExp(`cannot listen on 0.0.0.0:${port}.*in use.*-p`));

  link.send("LoadModelFromDisk", 1, {
    model_id: 0,
    no_of_copies: 1,
    model_path: "resnet50_v2",
    earliest_ns: 0,
    latest_ns: Number.MAX_SAFE_INTEGER,
    max_batch_size: 8,
    max_exec_duration_ns: 250e6,
  });
  await worker.printed("Sending R1:LoadModelFromDisk input=602112 output=4000");
  worker.signal("SIGTERM");
  assert.match(await closed.promise, /shutting down/);
  clock.close();
  assert.equal((await worker.ended()).code, 0);
  assert.deepEqual(results.map(({ kind }) => kind), [
    "GetWorkerStateResult",
    "LoadModelFromDiskResult",
  ]);
});

Deno.test("workers refuse what makes no sense with exit code 2, and say what", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const config = `${directory}/my.cfg`;
    await Deno.writeTextFile(config, "page_size = 4096\n");
    const cases: [args: string[], env: Record<string, string>, message: RegExp][] = [
      [["worker-dummy", "-n", "0"], {}, /--num_gpus.*'0' is invalid/],
      [["worker-dummy", "-p", "70000"], {}, /--port.*'70000' is invalid/],
      [["worker-dummy", "--speed", "2"], {}, /unknown option '--speed'/],
      [["worker-dummy", "-c", config], {}, /my\.cfg: unknown key page_size = 4096; expected/],
      [["worker-dummy"], { CLOCKWORK_CONFIG_FILE: config }, /my\.cfg: unknown key page_size/],
      [["worker-dummy", "-c", `${directory}/none`], {}, /cannot read .*none/],
      [["worker", "--device", "cuda"], {}, /--device.*'cuda' is invalid/],
    ];
    const ended = await Promise.all(cases.map(([args, env]) => new Clockwork(args, env).ended()));
    ended.forEach(({ code, stderr }, i) => {
      assert.equal(code, 2, stderr);
      assert.match(stderr, cases[i]![2]);
    });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("-h names the options and the environment", async () => {
  const { code, stdout } = await new Clockwork(["worker-dummy", "-h"]).ended();
  assert.equal(code, 0);
  for (const text of ["--num_gpus", "--port", "--config", "CLOCKWORK_MODEL_DIR"]) {
    assert.ok(stdout.includes(text), text);
  }
});
