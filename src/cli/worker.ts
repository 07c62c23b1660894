/** `clockwork worker`: a worker that runs models on this machine. */
import { Command } from "commander";
import { type Clock, SECOND } from "../core/clock.ts";
import { describeBytes } from "../wire/describe.ts";
import { NoDeviceError, OnnxBackend } from "../worker/onnx/onnx_backend.ts";
import { CliError } from "./exit.ts";
import { addModelOptions, backendOptions, type ModelOptions } from "./options/model.ts";
import {
  addServeOptions,
  ENVIRONMENT_HELP,
  modelDirs,
  type ServeOptions,
  serveWorker,
  type WorkerSetup,
} from "./serve_worker.ts";

type Options = ServeOptions & ModelOptions;

export function workerCommand(): Command {
  const command = new Command("worker")
    .description("Runs models on this machine's GPUs, or on its CPU where there are none.");
  return addModelOptions(addServeOptions(command))
    .addHelpText("after", ENVIRONMENT_HELP)
    .action(run);
}

function run(options: Options): Promise<void> {
  return serveWorker(options, (clock, setup) => openBackend(options, clock, setup));
}

async function openBackend(
  options: Options,
  clock: Clock,
  { config, chosen }: WorkerSetup,
): Promise<OnnxBackend> {
  try {
    const backend = await OnnxBackend.open(clock, {
      ...backendOptions(options),
      modelDirs: modelDirs(options),
      pageBytes: config.weights_cache_page_size,
      // The default size is made for one kind of GPU: only what the user wrote is taken at its word.
      ...(chosen.has("weights_cache_size") ? { weightsCacheBytes: config.weights_cache_size } : {}),
      maxModelBytes: config.max_model_size,
      maxBatchSize: config.max_batch_size,
      hostWeightsBytes: config.host_weights_size,
      timeouts: {
        loadNs: config.load_timeout_s * SECOND,
        callNs: config.action_timeout_s * SECOND,
      },
      onProgress: (line) => console.log(line),
    });
    for (const reason of backend.passedOver) console.log(`Passed over ${reason}`);
    backend.gpus.forEach(({ name, weightsCacheBytes }, i) => {
      const cache = Math.min(config.weights_cache_size, weightsCacheBytes);
      console.log(`GPU-${i} is ${name}, with ${describeBytes(cache)} for weights`);
    });
    return backend;
  } catch (error) {
    if (!(error instanceof NoDeviceError)) throw error;
    throw new CliError(error.message);
  }
}
