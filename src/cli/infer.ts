/** `clockwork infer`: one inference from a terminal. */
import { Command, Option } from "commander";
import type { Catalogue, ModelDescription } from "../client/catalogue.ts";
import { connectClient } from "../client/connect.ts";
import { modelName } from "../core/model_name.ts";
import type { ClockworkClient } from "../client/promises.ts";
import { RequestError, type Result } from "../client/result.ts";
import type { Datatype } from "../core/datatype.ts";
import { MS } from "../core/clock.ts";
import { SystemClock } from "../core/system_clock.ts";
import { type Address, parseAddress } from "../wire/tcp.ts";
import type { DataType, TensorSpec } from "../worker/backend.ts";
import { type RankedOutput, topOutputs } from "../worker/check_model.ts";
import {
  addCredentialOptions,
  asPeer,
  type CredentialOptions,
  credentialsHelp,
  readCredentials,
} from "./options/access.ts";
import { CliError, UsageError } from "./exit.ts";
import { inputBlob, InputFileError } from "./input_files.ts";
import {
  addInputOptions,
  type InputOptions,
  readInput,
  readInputs,
  readLabels,
} from "./options/input.ts";
import { parseDuration, parseInteger } from "./options/parse.ts";
import { CLIENT_PORT } from "./options/ports.ts";

interface Options extends CredentialOptions, InputOptions {
  readonly image?: string;
  readonly top: number;
  readonly slo?: number;
  readonly json?: true;
}

export function inferCommand(): Command {
  const command = new Command("infer")
    .description(
      "Runs one inference on a controller's models, and shows the output. A model that is not " +
        "loaded is loaded first.",
    )
    .argument("<address>", `the controller, HOST[:PORT]; the port is ${CLIENT_PORT} by default`)
    .argument("<model>", "its name, or its path as the workers know it")
    .option("--image <file>", "a PNG or JPEG, as --input: the model's only input");
  addInputOptions(command)
    .option("--top <n>", "number of largest outputs to show", parseInteger(1, 1000), 5)
    .addOption(
      new Option("--slo <time>", "time allowed, e.g. 100ms, instead of the controller's default")
        .argParser(parseDuration),
    )
    .option("--json", "print the result as JSON, and everything else to stderr");
  return addCredentialOptions(command)
    .addHelpText(
      "after",
      "\nEnvironment:\n" + credentialsHelp(25) + "\n" +
        "\nExample:\n" +
        "  clockwork infer 127.0.0.1 resnet50 --image cat.jpg --labels imagenet.txt\n",
    )
    .action(run);
}

async function run(addressText: string, name: string, options: Options): Promise<void> {
  const address = parse(addressText);
  const files = readInputs(options);
  if (options.image !== undefined) files.push(readInput(options.image));
  const labels = readLabels(options);
  const credentials = readCredentials(options);
  const say = options.json ? console.error : console.log;
  const clock = new SystemClock();
  try {
    const client = await connected(address, clock, asPeer(credentials));
    const model = await find(client, name) ?? await load(client, name, say);
    const specs = { inputs: model.inputs.map(specOf), outputs: model.outputs.map(specOf) };
    if (files.length === 0) say("No input is given: the worker makes one");
    const input = files.length === 0
      ? null
      : inputBlob({ ...specs, inputBytes: model.inputBytes }, files, options);
    const startNs = clock.now();
    const output = await client.infer(
      model,
      input,
      options.slo === undefined ? {} : { deadlineNs: options.slo },
    );
    const latencyNs = clock.now() - startNs;
    const top = topOutputs(specs, output, options.top);
    if (options.json) console.log(toJson(model, output, latencyNs, top, labels));
    else for (const line of describe(model, latencyNs, top, labels)) console.log(line);
    await client.close();
  } catch (error) {
    const told = error instanceof RequestError || error instanceof InputFileError;
    throw told ? new CliError(error.message) : error;
  } finally {
    clock.close();
  }
}

function parse(addressText: string): Address {
  try {
    return parseAddress(addressText, CLIENT_PORT);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function connected(
  address: Address,
  clock: SystemClock,
  credentials: ReturnType<typeof asPeer>,
): Promise<ClockworkClient> {
  try {
    return await connectClient(address, clock, { reconnectNs: 0, ...credentials });
  } catch (error) {
    throw new CliError((error as Error).message);
  }
}

/** The model that is loaded under this path, or else by this name; null when none is. */
async function find(client: ClockworkClient, name: string): Promise<ModelDescription | null> {
  const { models } = await catalogueOf(client);
  const usable = models.filter(({ status }) => status !== "unloading");
  return usable.find(({ path }) => path === name) ??
    usable.find(({ path }) => modelName(path) === name) ?? null;
}

function catalogueOf(client: ClockworkClient): Promise<Catalogue> {
  return new Promise((resolve, reject) =>
    client.callbacks.describeModels(null, (result: Result<Catalogue | null>) => {
      if (result.ok) resolve(result.value!);
      else reject(new RequestError("asking for the models", result));
    })
  );
}

async function load(
  client: ClockworkClient,
  name: string,
  say: (line: string) => void,
): Promise<ModelDescription> {
  say(`${name} is not loaded yet: loading it`);
  await client.loadModel(name);
  // The controller serves its first models a second after they were loaded.
  await client.ready();
  const found = await find(client, name);
  if (found === null) throw new CliError(`${name} was unloaded as soon as it had been loaded`);
  return found;
}

const DATA_TYPES: Readonly<Partial<Record<Datatype, DataType>>> = {
  FP32: "float32",
  FP16: "float16",
  INT64: "int64",
  INT32: "int32",
  INT8: "int8",
  UINT64: "uint64",
  UINT32: "uint32",
  UINT8: "uint8",
  BOOL: "bool",
};

/** A tensor in the terms of the files that may hold one. */
function specOf(tensor: ModelDescription["inputs"][number]): TensorSpec {
  const { name, datatype, shape, batched, bytes } = tensor;
  const dtype = DATA_TYPES[datatype];
  if (dtype === undefined) {
    throw new CliError(`"${name}" is of ${datatype}, which is not understood`);
  }
  return { name, dtype, shape, batched, bytes };
}

/** The result for people, a line each. */
function describe(
  model: ModelDescription,
  latencyNs: number,
  top: readonly RankedOutput[],
  labels: readonly string[] | null,
): string[] {
  const shapes = model.outputs.map(({ name, datatype, shape }) => `${name} ${datatype}[${shape}]`);
  const lines = [
    `${modelName(model.path)} (model ${model.id}) answered in ${(latencyNs / MS).toFixed(1)} ms: ` +
    shapes.join(", "),
  ];
  if (top.length === 0) lines.push(`${model.outputs[0]?.name ?? "the output"} is not of floats`);
  for (const { index, value } of top) {
    const label = labels?.[index];
    lines.push(`  ${index}: ${value}${label === undefined ? "" : `  ${label}`}`);
  }
  return lines;
}

function toJson(
  model: ModelDescription,
  output: Uint8Array,
  latencyNs: number,
  top: readonly RankedOutput[],
  labels: readonly string[] | null,
): string {
  return JSON.stringify({
    model_name: modelName(model.path),
    model_id: model.id,
    latency_ns: latencyNs,
    outputs: model.outputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
    output_bytes: output.length,
    top: top.map((one) => ({ ...one, label: labels?.[one.index] ?? null })),
  });
}
