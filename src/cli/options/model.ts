/** Options for models and devices, shared by `worker` and `check-model`. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { ELEMENT_BYTES } from "../../worker/model_files.ts";
import { DEVICE_CHOICES, type DeviceChoice } from "../../worker/onnx/onnx_backend.ts";
import { type Tolerances, VERIFY_CHOICES, type VerifyChoice } from "../../worker/onnx/verify.ts";

export type Shapes = Record<string, number[]>;

export interface ModelOptions {
  readonly device: DeviceChoice;
  readonly gpu?: string[];
  readonly shape?: Shapes;
  readonly fill?: Record<string, number>;
  readonly verify: VerifyChoice;
  readonly tolerance?: Partial<Tolerances>;
}

/** Reads "x=1,3,48,192" and adds it to what earlier options gave. */
export function parseShape(text: string, earlier: Shapes | undefined): Shapes {
  const match = /^(.+)=(\d+(?:,\d+)*)$/.exec(text);
  const dims = (match?.[2] ?? "").split(",").map(Number);
  if (match === null || !dims.every((dim) => dim >= 1 && dim < 2 ** 31)) {
    throw new InvalidArgumentError("Expected an input and its sizes, such as x=1,3,224,224.");
  }
  return { ...earlier, [match[1]!]: dims };
}

/** Reads "sr=16000" and adds it to what earlier options gave. */
export function parseFill(
  text: string,
  earlier: Record<string, number> | undefined,
): Record<string, number> {
  const match = /^(.+)=([^=]+)$/.exec(text);
  const value = Number(match?.[2]);
  if (match === null || !Number.isFinite(value)) {
    throw new InvalidArgumentError("Expected an input and a number, such as sr=16000.");
  }
  return { ...earlier, [match[1]!]: value };
}

/** Reads "float32=1e-4" and adds it to what earlier options gave. */
export function parseTolerance(
  text: string,
  earlier: Partial<Tolerances> | undefined,
): Partial<Tolerances> {
  const [dtype = "", number = ""] = text.split("=");
  const value = Number(number);
  if (!(dtype in ELEMENT_BYTES) || number.trim() === "" || !(value >= 0)) {
    throw new InvalidArgumentError("Expected a data type and a number, such as float32=0.001.");
  }
  return { ...earlier, [dtype]: value };
}

/** Adds them to a command. */
export function addModelOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--device <device>", "what runs models; auto takes the first that works")
        .choices(DEVICE_CHOICES).default("auto"),
    )
    .addOption(
      new Option(
        "--gpu <name|index>",
        "one of Dawn's adapters, by number or part of its name (repeatable)",
      ).argParser((text: string, earlier: string[] | undefined) => [...(earlier ?? []), text]),
    )
    .addOption(
      new Option(
        "--shape <name=sizes>",
        "shape of an input with dynamic dimensions, e.g. x=1,3,48,192; kept in model.json (repeatable)",
      ).argParser(parseShape),
    )
    .addOption(
      new Option(
        "--fill <name=number>",
        "value for made-up inputs that cannot be just any number, e.g. sr=16000; kept in " +
          "model.json (repeatable)",
      ).argParser(parseFill),
    )
    .addOption(
      new Option(
        "--verify <what>",
        "if a GPU's results differ from the CPU's: warn, refuse the model, or do not compare",
      ).choices(VERIFY_CHOICES).default("warn"),
    )
    .addOption(
      new Option(
        "--tolerance <dtype=number>",
        "how much results of a data type may differ from the CPU's (repeatable)",
      ).argParser(parseTolerance),
    );
}

/** Those options as the backend takes them. */
export function backendOptions(options: ModelOptions) {
  return {
    device: options.device,
    ...(options.gpu === undefined ? {} : { gpus: options.gpu }),
    ...(options.shape === undefined ? {} : { shapes: options.shape }),
    ...(options.fill === undefined ? {} : { fill: options.fill }),
    verify: options.verify,
    ...(options.tolerance === undefined ? {} : { tolerances: options.tolerance }),
  };
}
