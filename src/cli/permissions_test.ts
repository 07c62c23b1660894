/** The least that each role needs of Deno, as docs/security.md says it. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { TestAuthority } from "../wire/testing_tls.ts";
import { freePort } from "./demo/processes.ts";
import { HOST, Process } from "./testing.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MAIN = `${ROOT}/main.ts`;
const ENV = "--allow-env=CLOCKWORK_*,AZURE_TRACE_DIR,NO_COLOR,FORCE_COLOR,CLICOLOR_FORCE,OTEL_DENO";

/** Runs with these permissions and no others. */
function start(permissions: readonly string[], args: readonly string[], env = {}): Process {
  return new Process(args, env, ["run", "--no-prompt", ...permissions, MAIN]);
}

Deno.test("controller, worker, gateway and client work with the permissions that are documented", async () => {
  const directory = await Deno.makeTempDir();
  const logs = `${directory}/logs`;
  const processes: Process[] = [];
  const run = (permissions: readonly string[], args: readonly string[], env = {}) => {
    const process = start([ENV, ...permissions], args, env);
    processes.push(process);
    return process;
  };
  try {
    const { cert, key, ca } = await (await TestAuthority.make()).identity();
    const files = { cert: `${directory}/cert`, key: `${directory}/key`, ca: `${directory}/ca` };
    await Deno.writeTextFile(files.cert, cert);
    await Deno.writeTextFile(files.key, key);
    await Deno.writeTextFile(files.ca, ca);
    const tls = ["--tls-cert", files.cert, "--tls-key", files.key, "--tls-ca", files.ca];
    // Threads are read from `src`, profiles and defaults from `config`.
    const own = `${ROOT}/src,${ROOT}/config`;
    const read = `--allow-read=${own},${Object.values(files)}`;
    const [workerPort, workerMetrics, port, metrics, httpPort] = Array.from(
      { length: 5 },
      () => freePort(),
    );

    const worker = run(
      [`--allow-net=${HOST}:${workerPort},${HOST}:${workerMetrics}`, read],
      ["worker-dummy", "--host", HOST, "-p", `${workerPort}`, "--metrics", `${workerMetrics}`]
        .concat(tls),
    );
    await worker.printed("listening on");
    const controller = run(
      [`--allow-net=${HOST}`, `${read},${logs}`, `--allow-write=${logs}`],
      ["controller", "INFER4", `${HOST}:${workerPort}`, "--host", HOST, "-p", `${port}`]
        .concat("--metrics", `${metrics}`, "--default-slo", "30000000000", tls),
      { CLOCKWORK_LOG_DIR: logs },
    );
    await controller.printed("(Startup-3)");
    const client = await run(
      [`--allow-net=${HOST}:${port}`, read],
      ["client", `${HOST}:${port}`, "simple", "--duration", "1s", ...tls],
    ).ended;
    assert.equal(client.code, 0, client.stderr);
    for (const one of [workerMetrics, metrics]) {
      const response = await fetch(`http://${HOST}:${one}/metrics`);
      assert.match(await response.text(), /process_cpu_seconds_total/);
    }
    const gateway = run(
      [`--allow-net=${HOST}`, read],
      ["gateway", `${HOST}:${port}`, "--host", HOST, "--port", `${httpPort}`, ...tls],
    );
    await gateway.printed(`${httpPort}`);

    const report = await run([`--allow-read=${own},${logs}`], ["report", logs]).ended;
    assert.equal(report.code, 0, report.stderr);
    for (const process of [gateway, controller, worker]) {
      process.signal("SIGTERM");
      assert.equal((await process.ended).code, 0, process.stderr);
    }
    const printed = processes.map((process) => process.stdout + process.stderr).join("");
    assert.doesNotMatch(printed, /NotCapable|Requires .* access/);
  } finally {
    for (const process of processes) {
      process.kill();
      await process.ended;
    }
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a role gives up what it does not need, whatever it was given", async () => {
  const script = `
    const { run } = await import(${JSON.stringify(`file://${ROOT}/src/cli/program.ts`)});
    await run([Deno.args[0], "-h"]);
    for (const name of ["net", "read", "write", "env", "sys", "ffi", "run"]) {
      if (Deno.permissions.querySync({ name }).state === "granted") console.log("has " + name);
    }`;
  const has = async (role: string) => {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", script, role],
    }).output();
    return [...new TextDecoder().decode(stdout).matchAll(/^has (\w+)$/gm)].map(([, name]) => name);
  };
  assert.deepEqual(await has("controller"), ["net", "read", "write", "env"]);
  assert.deepEqual(await has("gateway"), ["net", "read", "env"]);
  assert.deepEqual(await has("simulate"), ["read", "write", "env"]);
  assert.deepEqual(await has("worker"), ["net", "read", "write", "env", "sys", "ffi"]);
});
