/**
 * Measures the whole system: `worker-dummy -n 2`, `controller INFER4` and `client simple`, three
 * processes on this machine. The emulated model takes 3.3 ms, so two copies cannot be served faster
 * than 606 times a second. Arguments go to the client, e.g. `--duration 30s`.
 */
import { join } from "node:path";
import { ClockworkProcess, freePort } from "../src/cli/demo/processes.ts";

const directory = Deno.makeTempDirSync({ prefix: "clockwork-bench-" });
const env = { CLOCKWORK_LOG_DIR: join(directory, "logs") };
const [workerPort, clientPort] = [freePort(), freePort()];
const processes: ClockworkProcess[] = [];

async function bench(): Promise<void> {
  const worker = new ClockworkProcess(
    "worker",
    ["worker-dummy", "-n", "2", "-p", `${workerPort}`],
    env,
  );
  processes.push(worker);
  await worker.line(/listening on/);
  const controller = new ClockworkProcess(
    "controller",
    ["controller", "INFER4", `127.0.0.1:${workerPort}`, "-p", `${clientPort}`],
    env,
  );
  processes.push(controller);
  await controller.line(/Awaiting LoadModel/);
  const client = new ClockworkProcess(
    "client",
    ["client", `127.0.0.1:${clientPort}`, "simple", "--duration", "20s", ...Deno.args],
    env,
  );
  processes.push(client);
  if (await client.ended !== 0) throw new Error("the client failed");
}

try {
  await bench();
} finally {
  for (const one of processes.toReversed()) await one.stop();
  Deno.removeSync(directory, { recursive: true });
}
