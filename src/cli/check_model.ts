/** `clockwork check-model`: runs one model and shows its sizes and times. */
import { Command, Option } from "commander";
import { isAbsolute } from "node:path";
import { SystemClock } from "../core/system_clock.ts";
import { CheckError, checkModel } from "../worker/check_model.ts";
import { ModelDirs } from "../worker/model_dirs.ts";
import { locateModel, ModelFileError } from "../worker/model_files.ts";
import { NoDeviceError, OnnxBackend } from "../worker/onnx/onnx_backend.ts";
import { describe, toJson } from "./check_model_report.ts";
import { CliError } from "./exit.ts";
import { inputBlob, InputFileError } from "./input_files.ts";
import { addInputOptions, type InputOptions, readInputs, readLabels } from "./options/input.ts";
import { addModelOptions, backendOptions, type ModelOptions } from "./options/model.ts";
import { parseInteger } from "./options/parse.ts";
import { modelDir } from "./serve_worker.ts";

interface Options extends ModelOptions, InputOptions {
  readonly pageSize: number;
  readonly iterations: number;
  readonly maxBatch: number;
  readonly json?: true;
  readonly write?: true;
}

export function checkModelCommand(): Command {
  const command = new Command("check-model")
    .description("Runs one model on this machine and shows its sizes and times.")
    .argument("<path>", "an .onnx file, its folder, or NAME/model")
    .addOption(
      new Option("-p, --page-size <bytes>", "size of a page of weights")
        .argParser(parseInteger(1, 2 ** 40)).default(16 * 1024 * 1024),
    )
    .addOption(
      new Option("-i, --iterations <n>", "runs of each batch size")
        .argParser(parseInteger(1, 1_000_000)).default(10),
    )
    .addOption(
      new Option("-b, --max-batch <n>", "largest batch size to run")
        .argParser(parseInteger(1, 65536)).default(16),
    );
  addInputOptions(command);
  command
    .option("--json", "print the report as JSON")
    .option("--write", "measure again and save the profile, and --shape, in model.json");
  return addModelOptions(command)
    .addHelpText(
      "after",
      "\nEnvironment:\n" +
        "  CLOCKWORK_MODEL_DIR  directory in which models are found by name, one folder each",
    )
    .action(run);
}

async function run(path: string, options: Options): Promise<void> {
  const files = readInputs(options);
  const labels = readLabels(options);
  const located = locate(path);
  const clock = new SystemClock();
  let backend: OnnxBackend | undefined;
  try {
    backend = await OnnxBackend.open(clock, {
      ...backendOptions(options),
      modelDirs: ModelDirs.anywhere(modelDir()),
      pageBytes: options.pageSize,
      maxBatchSize: options.maxBatch,
      strictShapes: true,
      profiles: options.write ? "renew" : "read",
      onProgress: (line) => console.error(line),
    });
    const report = await checkModel(clock, backend, located, {
      pageBytes: options.pageSize,
      iterations: options.iterations,
      maxBatchSize: options.maxBatch,
      input: files.length === 0 ? null : (model) => inputBlob(model, files, options),
    });
    const text = options.json
      ? JSON.stringify(toJson(backend, report, labels), null, 2)
      : describe(backend, report, labels, Deno.stdout.isTerminal() && !Deno.noColor).join("\n");
    console.log(text);
  } catch (error) {
    const told = error instanceof CheckError || error instanceof NoDeviceError ||
      error instanceof InputFileError;
    throw told ? new CliError(error.message) : error;
  } finally {
    backend?.close();
    clock.close();
  }
}

/** A path as the shell means it, else a name in the model directory. */
function locate(path: string): string {
  const places = isAbsolute(path) ? [""] : [Deno.cwd(), modelDir()];
  const messages: string[] = [];
  for (const place of places) {
    try {
      const { onnxPath, jsonPath } = locateModel(path, ModelDirs.anywhere(place));
      return onnxPath ?? jsonPath;
    } catch (error) {
      if (!(error instanceof ModelFileError)) throw error;
      messages.push(error.message);
    }
  }
  throw new CliError(messages.join("\n"));
}
