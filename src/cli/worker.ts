/** `clockwork worker`: a worker that runs models on this machine. */
import { Command, Option } from "commander";
import type { Clock } from "../core/clock.ts";
import { describeBytes } from "../wire/describe.ts";
import {
  DEVICE_CHOICES,
  type DeviceChoice,
  NoDeviceError,
  OnnxBackend,
} from "../worker/onnx/onnx_backend.ts";
import { CliError } from "./exit.ts";
import {
  addServeOptions,
  ENVIRONMENT_HELP,
  modelDir,
  type ServeOptions,
  serveWorker,
  type WorkerSetup,
} from "./serve_worker.ts";

interface Options extends ServeOptions {
  readonly device: DeviceChoice;
}

export function workerCommand(): Command {
  const command = new Command("worker")
    .description("Runs models on this machine's GPU, or on its CPU where there is none.");
  return addServeOptions(command)
    .addOption(
      new Option("--device <device>", "what runs the models; auto takes the first that works")
        .choices(DEVICE_CHOICES).default("auto"),
    )
    .addHelpText("after", ENVIRONMENT_HELP)
    .action(run);
}

function run(options: Options): Promise<void> {
  return serveWorker(options, (clock, setup) => openBackend(options.device, clock, setup));
}

async function openBackend(
  device: DeviceChoice,
  clock: Clock,
  { config, chosen }: WorkerSetup,
): Promise<OnnxBackend> {
  try {
    const backend = await OnnxBackend.open(clock, {
      device,
      modelDir: modelDir(),
      // The default size is made for one kind of GPU: only what the user wrote is taken at its word.
      ...(chosen.has("weights_cache_size") ? { weightsCacheBytes: config.weights_cache_size } : {}),
      onLost: (message) => console.error(`GPU lost: ${message}; restart this worker`),
    });
    for (const reason of backend.passedOver) console.log(`Passed over ${reason}`);
    const { name } = backend.device;
    const cache = Math.min(config.weights_cache_size, backend.gpus[0]!.weightsCacheBytes);
    console.log(`GPU-0 is ${name}, with ${describeBytes(cache)} for weights`);
    return backend;
  } catch (error) {
    if (!(error instanceof NoDeviceError)) throw error;
    throw new CliError(error.message);
  }
}
