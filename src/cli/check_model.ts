/** `clockwork check-model`: runs one model and shows its sizes and times. */
import { Command, InvalidArgumentError, Option } from "commander";
import { isAbsolute } from "node:path";
import { SystemClock } from "../core/system_clock.ts";
import { CheckError, checkModel } from "../worker/check_model.ts";
import { ModelDirs } from "../worker/model_dirs.ts";
import { locateModel, ModelFileError } from "../worker/model_files.ts";
import { NoDeviceError, OnnxBackend } from "../worker/onnx/onnx_backend.ts";
import { describe, toJson } from "./check_model_report.ts";
import { CliError, UsageError } from "./exit.ts";
import { inputBlob, type InputFile, InputFileError } from "./input_files.ts";
import { addModelOptions, backendOptions, type ModelOptions } from "./model_options.ts";
import { parseInteger } from "./parse.ts";
import { ENVIRONMENT_HELP, modelDir } from "./serve_worker.ts";

interface Options extends ModelOptions {
  readonly pageSize: number;
  readonly iterations: number;
  readonly maxBatch: number;
  readonly input?: string[];
  readonly mean: number[];
  readonly std: number[];
  readonly labels?: string;
  readonly json?: true;
  readonly write?: true;
}

/** Larger input files are not read. */
const MAX_INPUT_BYTES = 2 ** 31 - 1;

function parseNumbers(text: string): number[] {
  const numbers = text.split(",").map((part) => part.trim() === "" ? NaN : Number(part));
  if (numbers.some((value) => !Number.isFinite(value)) || ![1, 3].includes(numbers.length)) {
    throw new InvalidArgumentError("Expected one number, or three with commas, one a channel.");
  }
  return numbers;
}

function parseDivisors(text: string): number[] {
  const numbers = parseNumbers(text);
  if (numbers.includes(0)) throw new InvalidArgumentError("Values are divided by it: not 0.");
  return numbers;
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
    )
    .addOption(
      new Option(
        "--input <[name=]file>",
        "one request's input: raw little-endian, .npy, PNG or JPEG; shows the top 5 outputs (repeatable, with names)",
      ).argParser((text: string, earlier: string[] | undefined) => [...(earlier ?? []), text]),
    )
    .addOption(
      new Option("--mean <r,g,b>", "taken from an image's values, which are 0 to 1")
        .argParser(parseNumbers).default([0], "0"),
    )
    .addOption(
      new Option("--std <r,g,b>", "what they are divided by then")
        .argParser(parseDivisors).default([1], "1"),
    )
    .option("--labels <file>", "names of the outputs, a line each")
    .option("--json", "print the report as JSON")
    .option("--write", "measure anew and keep the profile, and --shape, in model.json");
  return addModelOptions(command).addHelpText("after", ENVIRONMENT_HELP).action(run);
}

async function run(path: string, options: Options): Promise<void> {
  const files = options.input?.map(readInput) ?? [];
  const labels = options.labels === undefined ? null : readLabels(options.labels);
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

/** A file that exists is one even if its name has an equals sign. */
function readInput(text: string): InputFile {
  const split = /^([^=]+)=(.+)$/.exec(text);
  if (split === null || exists(text)) return { input: null, path: text, bytes: readBytes(text) };
  return { input: split[1]!, path: split[2]!, bytes: readBytes(split[2]!) };
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function readBytes(path: string): Uint8Array {
  try {
    const { size } = Deno.statSync(path);
    if (size > MAX_INPUT_BYTES) throw new Error(`it has ${size} bytes, more than any input`);
    return Deno.readFileSync(path);
  } catch (error) {
    throw new UsageError(`cannot read the input ${path}: ${(error as Error).message}`);
  }
}

function readLabels(path: string): string[] {
  try {
    return Deno.readTextFileSync(path).split(/\r?\n/);
  } catch (error) {
    throw new UsageError(`cannot read the labels ${path}: ${(error as Error).message}`);
  }
}
