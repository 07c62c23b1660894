/**
 * `deno task demo`: serves a real ONNX model with a worker, a controller and a client, each in its own
 * process, and compares its outputs with a direct run. Exit code 0 means that everything worked. Arguments
 * are passed to the worker, e.g. `--device dawn`.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkOutputs, TOLERANCE } from "./output_check.ts";
import { ClockworkProcess, freePort, show } from "./processes.ts";

const MODEL = "residual_conv";
const INPUT_SHAPE = [3, 32, 32];
/** A fresh machine compiles shaders and downloads packages first; a hung one must not keep a person. */
const LIMIT_MS = 120_000;
const CLIENT_SECONDS = 8;

const processes: ClockworkProcess[] = [];
let stopping = false;

function start(name: string, args: string[], env: Record<string, string>): ClockworkProcess {
  if (stopping) throw new Error("stopping already");
  show("demo", `$ clockwork ${args.join(" ")}`);
  const started = new ClockworkProcess(name, args, { env });
  processes.push(started);
  return started;
}

async function demo(directory: string): Promise<void> {
  // A copy, because the worker writes the profile that it measures beside the model.
  const onnxPath = join(directory, "models", MODEL, "model.onnx");
  Deno.mkdirSync(join(directory, "models", MODEL), { recursive: true });
  Deno.copyFileSync(
    fileURLToPath(new URL(`../../../testdata/models/${MODEL}/model.onnx`, import.meta.url)),
    onnxPath,
  );
  const env = {
    CLOCKWORK_MODEL_DIR: join(directory, "models"),
    CLOCKWORK_LOG_DIR: join(directory, "logs"),
  };
  const [workerPort, clientPort] = [freePort(), freePort()];

  const worker = start("worker", ["worker", "-p", `${workerPort}`, ...Deno.args], env);
  await worker.line(/listening on/);
  const workerAddress = `127.0.0.1:${workerPort}`;
  const controller = start(
    "controller",
    ["controller", "INFER4", workerAddress, "-p", `${clientPort}`],
    env,
  );
  await controller.line(/Awaiting LoadModel/);
  const client = start(
    "client",
    ["client", `127.0.0.1:${clientPort}`, "simple", MODEL]
      .concat(["--interval", "2s", "--duration", `${CLIENT_SECONDS}s`]),
    env,
  );
  await client.line(/^throughput=/);
  // While the client's requests go on: the outputs must be right under load.
  const check = await checkOutputs({ hostname: "127.0.0.1", port: clientPort }, {
    onnxPath,
    inputShape: INPUT_SHAPE,
  });
  const code = await client.ended;
  if (code !== 0) throw new Error(`the client failed (exit code ${code})`);
  show(
    "demo",
    `${check.inputs} outputs (${check.values} values up to ${check.maxValue.toPrecision(3)}) ` +
      `differ from a direct run by at most ${check.maxDifference.toExponential(1)} ` +
      `(allowed: ${TOLERANCE})`,
  );
}

/** Runs until `demo` ends, a signal comes, the time is up, or a process fails; then cleans up. */
async function main(): Promise<number> {
  const directory = Deno.makeTempDirSync({ prefix: "clockwork-demo-" });
  const interrupted = Promise.withResolvers<never>();
  const onSignal = () => interrupted.reject(new Error("interrupted"));
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, onSignal);
  const limit = setTimeout(
    () => interrupted.reject(new Error(`not done within ${LIMIT_MS / 1000} s`)),
    LIMIT_MS,
  );
  let failure: Error | null = null;
  try {
    await Promise.race([demo(directory), interrupted.promise]);
  } catch (error) {
    failure = error as Error;
    show("demo", `stopping: ${failure.message}`);
  }
  clearTimeout(limit);
  stopping = true;
  // Last started first: a client that loses its controller would complain.
  for (const one of processes.toReversed()) await one.stop();
  Deno.removeSync(directory, { recursive: true });
  show("demo", failure === null ? "OK" : `FAILED: ${failure.message}`);
  return failure === null ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
