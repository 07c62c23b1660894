/** `clockwork worker-dummy`: a worker with emulated GPUs. */
import { Command, Option } from "commander";
import { MAX_GPUS_PER_WORKER } from "../wire/messages.ts";
import { EmulatedBackend } from "../worker/emulated/backend.ts";
import { modelReader } from "../worker/emulated/model.ts";
import { parseInteger } from "./options/parse.ts";
import {
  addServeOptions,
  ENVIRONMENT_HELP,
  modelDirs,
  type ServeOptions,
  serveWorker,
} from "./serve_worker.ts";

interface Options extends ServeOptions {
  readonly num_gpus: number;
  readonly gpus?: number;
}

export function workerDummyCommand(): Command {
  const parseGpus = parseInteger(1, MAX_GPUS_PER_WORKER);
  const command = new Command("worker-dummy")
    .description("Emulates a worker: any number of GPUs, times from the models' profiles.")
    .addOption(
      new Option("-n, --num_gpus <n>", "GPUs to emulate").argParser(parseGpus).default(1)
        .conflicts("gpus"),
    )
    .addOption(new Option("--gpus <n>", "the same").argParser(parseGpus));
  return addServeOptions(command).addHelpText("after", ENVIRONMENT_HELP).action(run);
}

function run(options: Options): Promise<void> {
  return serveWorker(options, (clock, { config }) =>
    new EmulatedBackend({
      clock,
      gpus: options.gpus ?? options.num_gpus,
      weightsCacheBytes: config.weights_cache_size,
      readModel: modelReader(modelDirs(options)),
    }));
}
