/** `clockwork check-model`: runs one model and shows its sizes and times. */
import { Command, InvalidArgumentError, Option } from "commander";
import { isAbsolute } from "node:path";
import { MS } from "../core/clock.ts";
import { SystemClock } from "../core/system_clock.ts";
import type { TensorSpec } from "../worker/backend.ts";
import { CheckError, checkModel, type CheckReport, type Latency } from "../worker/check_model.ts";
import { locateModel, ModelFileError } from "../worker/model_files.ts";
import {
  DEVICE_CHOICES,
  type DeviceChoice,
  NoDeviceError,
  OnnxBackend,
} from "../worker/onnx/onnx_backend.ts";
import { CliError, UsageError } from "./exit.ts";
import { parseInteger } from "./parse.ts";
import { ENVIRONMENT_HELP, modelDir } from "./serve_worker.ts";

type Shapes = Record<string, number[]>;

interface Options {
  readonly pageSize: number;
  readonly iterations: number;
  readonly input?: string;
  readonly device: DeviceChoice;
  readonly shape?: Shapes;
  readonly json?: true;
}

/** Larger input files are not read. */
const MAX_INPUT_BYTES = 2 ** 31 - 1;

/** Reads "x=1,3,48,192" and adds it to what earlier options gave. */
export function parseShape(text: string, earlier: Shapes | undefined): Shapes {
  const match = /^(.+)=(\d+(?:,\d+)*)$/.exec(text);
  const dims = (match?.[2] ?? "").split(",").map(Number);
  if (match === null || !dims.every((dim) => dim >= 1 && dim < 2 ** 31)) {
    throw new InvalidArgumentError("Expected an input and its sizes, such as x=1,3,224,224.");
  }
  return { ...earlier, [match[1]!]: dims };
}

export function checkModelCommand(): Command {
  return new Command("check-model")
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
    .option("--input <file>", "input of one request, raw little-endian; shows the top 5 outputs")
    .addOption(
      new Option("--device <device>", "what runs the model; auto takes the first that works")
        .choices(DEVICE_CHOICES).default("auto"),
    )
    .addOption(
      new Option(
        "--shape <name=sizes>",
        "sizes of an input with dynamic dimensions, e.g. x=1,3,48,192; kept in model.json (repeatable)",
      ).argParser(parseShape),
    )
    .option("--json", "print the report as JSON")
    .addHelpText("after", ENVIRONMENT_HELP)
    .action(run);
}

async function run(path: string, options: Options): Promise<void> {
  const input = options.input === undefined ? null : readInput(options.input);
  const located = locate(path);
  const clock = new SystemClock();
  let backend: OnnxBackend | undefined;
  try {
    backend = await OnnxBackend.open(clock, {
      device: options.device,
      modelDir: modelDir(),
      ...(options.shape === undefined ? {} : { shapes: options.shape }),
      onLost: (message) => console.error(`GPU lost: ${message}`),
    });
    const report = await checkModel(clock, backend, located, {
      pageBytes: options.pageSize,
      iterations: options.iterations,
      input,
    });
    const text = options.json
      ? JSON.stringify(toJson(backend, report), null, 2)
      : describe(backend, report, Deno.stdout.isTerminal() && !Deno.noColor).join("\n");
    console.log(text);
  } catch (error) {
    const told = error instanceof CheckError || error instanceof NoDeviceError;
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
      const { onnxPath, jsonPath } = locateModel(path, place);
      return onnxPath ?? jsonPath;
    } catch (error) {
      if (!(error instanceof ModelFileError)) throw error;
      messages.push(error.message);
    }
  }
  throw new CliError(messages.join("\n"));
}

function readInput(path: string): Uint8Array {
  try {
    const { size } = Deno.statSync(path);
    if (size > MAX_INPUT_BYTES) throw new Error(`it has ${size} bytes, more than any input`);
    return Deno.readFileSync(path);
  } catch (error) {
    throw new UsageError(`cannot read the input ${path}: ${(error as Error).message}`);
  }
}

function describeTensors(specs: readonly TensorSpec[]): string {
  return specs.map(({ name, dtype, shape, batched }) =>
    `${name} ${dtype}[${[...(batched ? ["batch"] : []), ...shape].join(",")}]`
  ).join(", ");
}

function describeLatency({ medianNs, maxNs }: Latency): string {
  return `${(medianNs / MS).toFixed(3)} ms (max ${(maxNs / MS).toFixed(3)})`;
}

/** The report for people, a line each. */
export function describe(backend: OnnxBackend, report: CheckReport, colour: boolean): string[] {
  const { model } = report;
  const bold = (text: string) => colour ? `\x1b[1m${text}\x1b[22m` : text;
  const lines = [
    bold(model.source),
    `  Device: ${backend.device.name}`,
    ...backend.passedOver.map((reason) => `    passed over ${reason}`),
    `  Input size: ${model.inputBytes} bytes: ${describeTensors(model.inputs)}`,
    `  Output size: ${model.outputBytes} bytes: ${describeTensors(model.outputs)}`,
    "  Workspace: n/a (managed by ONNX Runtime)",
    "  Weights size paged (non-paged) [pages]: " +
    `${report.pagedBytes} (${model.weightsBytes}) [${report.pages}]`,
    `  Weights hoisted: ${backend.isHoisted(model) ? "yes, same bits as without" : "no"}`,
    ...model.notes.map((note) => `    ${note}`),
    `  Weights transfer latency: ${describeLatency(report.loadWeights)}`,
    bold("  Execution latency:"),
    ...model.batchSizes.map((size, i) => `    b${size}: ${describeLatency(report.exec[i]!)}`),
  ];
  if (report.top !== null) {
    lines.push(bold(`  Top outputs of ${model.outputs[0]?.name}:`));
    if (report.top.length === 0) lines.push("    n/a (not floats)");
    for (const { index, value } of report.top) lines.push(`    ${index}: ${value}`);
  }
  return lines;
}

function toJson(backend: OnnxBackend, report: CheckReport): unknown {
  const { model } = report;
  return {
    source: model.source,
    device: backend.device,
    passed_over: backend.passedOver,
    inputs: model.inputs,
    outputs: model.outputs,
    input_bytes: model.inputBytes,
    output_bytes: model.outputBytes,
    workspace_bytes: null,
    weights: {
      bytes: model.weightsBytes,
      paged_bytes: report.pagedBytes,
      pages: report.pages,
      hoisted: backend.isHoisted(model),
    },
    notes: model.notes,
    load_weights_ns: { median: report.loadWeights.medianNs, max: report.loadWeights.maxNs },
    exec_ns: Object.fromEntries(
      model.batchSizes.map((size, i) => [
        size,
        { median: report.exec[i]!.medianNs, max: report.exec[i]!.maxNs },
      ]),
    ),
    top: report.top,
  };
}
