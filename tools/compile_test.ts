import assert from "node:assert/strict";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../src/cli/demo/processes.ts";
import { INCLUDED } from "./compile.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const MAX_BYTES = 200e6;

function* sources(folder: string): Generator<string> {
  for (const entry of Deno.readDirSync(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory) yield* sources(path);
    else if (/(?<!_test|testing)\.ts$/.test(entry.name)) yield path;
  }
}

Deno.test("the entries of all threads are embedded in the executable", () => {
  const entries: string[] = [];
  for (const path of sources(join(ROOT, "src"))) {
    const text = Deno.readTextFileSync(path);
    for (const [, entry] of text.matchAll(/new URL\("(\.[^"]*\.ts)", import\.meta\.url\)/g)) {
      entries.push(relative(ROOT, join(path, "..", entry!)));
    }
  }
  // How a process starts another of itself: not from an executable.
  const threads = entries.filter((entry) => entry !== "main.ts");
  assert.ok(threads.length >= 2, `found ${threads.join(", ")}`);
  assert.deepEqual(INCLUDED.filter((path) => path.endsWith(".ts")).sort(), threads.sort());
});

/** Why no executable can be made here; null when it can. */
async function obstacle(): Promise<string | null> {
  if (Deno.env.get("DENORT_BIN")) return null;
  // It asks where the runtime part comes from, too, and changes nothing.
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["upgrade", "--dry-run"],
    stdout: "null",
    stderr: "null",
    signal: AbortSignal.timeout(10_000),
  }).output();
  return success ? null : "no DENORT_BIN, and Deno's downloads cannot be reached";
}

class Program {
  readonly #path: string;
  readonly #cwd: string;

  constructor(path: string, cwd: string) {
    this.#path = path;
    this.#cwd = cwd;
  }

  start(...args: string[]): Deno.ChildProcess {
    return new Deno.Command(this.#path, {
      args,
      cwd: this.#cwd,
      env: { NO_COLOR: "1", CLOCKWORK_MODEL_DIR: "", CLOCKWORK_LOG_DIR: this.#cwd },
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
  }

  async output(...args: string[]): Promise<string> {
    const { code, stdout } = await this.start(...args).output();
    const text = new TextDecoder().decode(stdout);
    assert.equal(code, 0, `${args.join(" ")}: ${text}`);
    return text;
  }
}

/** Reads what a process prints until it has printed `what`; the rest is left unread. */
async function printed(process: Deno.ChildProcess, what: string): Promise<void> {
  const reader = process.stdout.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    while (!text.includes(what)) {
      const { value } = await reader.read();
      assert.ok(value !== undefined, `it ended without "${what}":\n${text}`);
      text += decoder.decode(value, { stream: true });
    }
  } finally {
    reader.releaseLock();
  }
}

const skipped = await obstacle();
if (skipped !== null) console.log(`skipped: the compiled executable is not tested: ${skipped}`);

Deno.test({
  name: "the executable serves requests and opens a device, from any directory",
  ignore: skipped !== null,
  fn: async () => {
    const directory = Deno.makeTempDirSync();
    const running: Deno.ChildProcess[] = [];
    try {
      const path = join(directory, "clockwork");
      const { code } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--allow-read", "--allow-env", "--allow-run"]
          .concat([join(ROOT, "tools", "compile.ts"), "--output", path]),
        stdout: "null",
      }).output();
      assert.equal(code, 0);
      const { size } = Deno.statSync(path);
      assert.ok(size < MAX_BYTES, `it has ${size} bytes`);

      const program = new Program(path, directory);
      assert.match(await program.output("--version"), /^\d+\.\d+\.\d+\n$/);

      const profile = JSON.parse(await program.output("profile", "check", "--json"));
      const device = profile.checks.find(({ name }: { name: string }) =>
        name === "Worker's device"
      );
      assert.match(device.level, /^(ok|warning)$/, JSON.stringify(device));

      // A real model: its thread, ONNX Runtime and the gateway's thread are all in the executable.
      const models = join(directory, "models", "mlp");
      Deno.mkdirSync(models, { recursive: true });
      Deno.copyFileSync(
        join(ROOT, "testdata", "models", "mlp", "model.onnx"),
        join(models, "model.onnx"),
      );
      const [workerPort, clientPort, httpPort] = [freePort(), freePort(), freePort()];
      const worker = program.start("worker", "-p", `${workerPort}`, "--model-dir", "models");
      running.push(worker);
      await printed(worker, "listening on");
      const controller = program.start(
        ...["controller", "INFER4", `127.0.0.1:${workerPort}`],
        ...["-p", `${clientPort}`, "--http", `${httpPort}`],
      );
      running.push(controller);
      await printed(controller, "Awaiting LoadModel");
      const client = `127.0.0.1:${clientPort}`;
      const text = await program.output("infer", client, "mlp", "--slo", "10s", "--json");
      assert.equal(JSON.parse(text).model_name, "mlp", text);
      const script = await fetch(`http://127.0.0.1:${httpPort}/dashboard/main.js`);
      assert.equal(script.status, 200);
      assert.ok((await script.text()).length > 1000);

      const dummyPort = freePort();
      const dummy = program.start("worker-dummy", "-p", `${dummyPort}`);
      running.push(dummy);
      await printed(dummy, "listening on");
      const emulatedPort = freePort();
      const emulated = program.start(
        ...["controller", "INFER4", `127.0.0.1:${dummyPort}`, "-p", `${emulatedPort}`],
      );
      running.push(emulated);
      await printed(emulated, "Awaiting LoadModel");
      const workload = ["simple", "--duration", "2s"];
      const lines = await program.output("client", `127.0.0.1:${emulatedPort}`, ...workload);
      assert.match(lines, /^requests=[1-9]\d* /m);
      const page = join(directory, "page.html");
      await program.output("report", directory, "-o", page);
      assert.ok(Deno.statSync(page).size > 100_000, "the page has its scripts");
    } finally {
      for (const process of running.toReversed()) {
        process.kill("SIGKILL");
        await process.stdout.cancel();
        await process.status;
      }
      Deno.removeSync(directory, { recursive: true });
    }
  },
});
