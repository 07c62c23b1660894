/** The example of docs/client-library.md, as another program runs it, against an emulated cluster. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect, RequestError, RequestStatus } from "../client/mod.ts";
import { freePort } from "./demo/processes.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FLAGS = ["--allow-net", "--allow-read", "--allow-write", "--allow-env", "--allow-sys"];

const page = Deno.readTextFileSync(join(ROOT, "docs/client-library.md"));

/** The first block of this language on the page. */
function block(language: string): string {
  const found = new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``).exec(page);
  assert.ok(found, `the page has ${language}`);
  return found[1]!;
}

/** A `clockwork` process; resolves once it has printed `ready`. */
async function start(args: readonly string[], ready: RegExp, logDir: string) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", ...FLAGS, join(ROOT, "main.ts"), ...args],
    env: { CLOCKWORK_LOG_DIR: logDir, NO_COLOR: "1" },
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!ready.test(text)) {
    const { done, value } = await reader.read();
    if (done) assert.fail(`${args[0]} ended: ${text}`);
    text += value;
  }
  // Whatever it prints from now on must not fill the pipe.
  const drained = (async () => {
    while (!(await reader.read()).done);
  })();
  return {
    stop: async () => {
      child.kill("SIGTERM");
      await Promise.all([child.status, drained]);
    },
  };
}

async function withCluster(body: (address: string, directory: string) => Promise<void>) {
  const directory = Deno.makeTempDirSync();
  const processes: { stop: () => Promise<void> }[] = [];
  try {
    const [worker, clients] = [freePort(), freePort()];
    processes.push(
      await start(
        ["worker-dummy", "-p", `${worker}`, "--host", "127.0.0.1"],
        /listening/,
        directory,
      ),
      await start(
        ["controller", "INFER4", `127.0.0.1:${worker}`, "-p", `${clients}`, "--host", "127.0.0.1"],
        /Awaiting LoadModel/,
        directory,
      ),
    );
    await body(`127.0.0.1:${clients}`, directory);
  } finally {
    for (const one of processes.toReversed()) await one.stop();
    Deno.removeSync(directory, { recursive: true });
  }
}

Deno.test("the page's example runs as it is, and the library does what the page says", async () => {
  await withCluster(async (address, directory) => {
    const config = block("json").replaceAll("../clockwork/", ROOT);
    Deno.writeTextFileSync(join(directory, "deno.json"), config);
    Deno.writeTextFileSync(join(directory, "example.ts"), block("ts"));
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--check", "--allow-net", "--allow-read", "example.ts", address],
      cwd: directory,
    }).output();
    assert.equal(
      new TextDecoder().decode(stdout),
      "1000 numbers\n",
      new TextDecoder().decode(stderr),
    );
    assert.equal(code, 0);

    const clockwork = await connect(address);
    const copies = await clockwork.loadModel("resnet18", 2);
    await clockwork.ready();
    assert.deepEqual((await clockwork.ls()).slice(-2), copies);
    const outputs = await Promise.all(
      copies.map((copy) => clockwork.infer(copy, null, { sloFactor: 1000 })),
    );
    assert.deepEqual(outputs.map(({ length }) => length), [4000, 4000]);
    const refused = (status: number) => (error: unknown) =>
      error instanceof RequestError && error.status === status;
    await assert.rejects(
      clockwork.infer(copies[0]!, new Uint8Array(3)),
      refused(RequestStatus.invalidRequest),
    );
    await assert.rejects(clockwork.loadModel("no such model"), refused(RequestStatus.error));
    await assert.rejects(
      clockwork.infer(copies[1]!, null, { deadlineNs: 1 }),
      (error) => error instanceof RequestError && error.from === "controller",
    );
    await clockwork.close();
    await assert.rejects(clockwork.ls(), /the client was closed/);
  });
});

Deno.test("the page names the package that Clockwork itself uses", () => {
  const { imports } = JSON.parse(block("json"));
  const own = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.json"))).imports;
  assert.equal(imports.msgpackr, own.msgpackr);
});

Deno.test("what is no address, and where nobody listens, is told at once", async () => {
  await assert.rejects(connect("a:b:c"), /"a:b:c" is not an address/);
  await assert.rejects(connect(`127.0.0.1:${freePort()}`), /refused the connection/);
});
