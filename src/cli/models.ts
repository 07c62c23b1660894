/** `clockwork models`: lists, uploads, loads, unloads and removes a controller's models. */
import { Command, InvalidArgumentError } from "commander";
import { basename, dirname, resolve } from "node:path";
import {
  type ClockworkClient,
  connect,
  CONTROLLER_PORT,
  modelFiles,
  RequestError,
  UploadFileError,
  type UploadRemoved,
} from "../client/mod.ts";
import { describeBytes } from "../wire/describe.ts";
import { parseAddress } from "../wire/tcp.ts";
import {
  addCredentialOptions,
  asPeer,
  type CredentialOptions,
  credentialsHelp,
  readCredentials,
} from "./options/access.ts";
import { CliError, UsageError } from "./exit.ts";
import { parseInteger } from "./options/parse.ts";

interface Options extends CredentialOptions {
  readonly json: boolean;
}

interface LoadOptions extends Options {
  readonly copies: number;
  readonly worker?: readonly string[];
}

interface UploadOptions extends Options {
  readonly name?: string;
  readonly load?: number;
  readonly worker?: readonly string[];
}

const copies = parseInteger(1, 1_000_000);
const WORKER = "a worker that should have it, by number or address; repeatable (default: all)";

export function modelsCommand(): Command {
  const command = new Command("models")
    .description("Lists, uploads, loads, unloads and removes the models of a controller.")
    .addHelpText("after", `\nEnvironment:\n${credentialsHelp(21)}`);
  subcommand(command, "ls", "Lists the models that are loaded.")
    .action((address: string, options: Options) =>
      run(address, options, (client) => list(client, options))
    );
  subcommand(command, "upload", "Sends a model's files to the workers, which keep them.")
    .argument("<path>", "an .onnx file, or a folder with one, model.json and files of weights")
    .option("--name <name>", "its name (default: that of the folder or file)")
    .option("--load <copies>", "also load this many copies", copies)
    .option("--worker <worker>", WORKER, repeated)
    .action((address: string, path: string, options: UploadOptions) =>
      run(address, options, (client) => upload(client, path, options))
    );
  subcommand(command, "load", "Loads copies of a model.")
    .argument("<path>", "path that `upload` printed, or name or path of a model on the workers")
    .option("--copies <n>", "how many", copies, 1)
    .option("--worker <worker>", WORKER, repeated)
    .action((address: string, path: string, options: LoadOptions) =>
      run(address, options, (client) => load(client, path, options.copies, options))
    );
  subcommand(command, "unload", "Unloads models: their last requests are served first.")
    .argument("<ids...>", "numbers of models, or ranges of them, e.g. 3 7-9", parseIds)
    .action((address: string, ids: readonly Ids[], options: Options) =>
      run(address, options, (client) => unload(client, ids, options))
    );
  subcommand(command, "uploads", "Lists the uploads that workers keep, loaded or not.")
    .action((address: string, options: Options) =>
      run(address, options, (client) => listUploads(client, options))
    );
  subcommand(command, "remove", "Removes uploads from the workers; none that is loaded.")
    .argument("<paths...>", "as `uploads` lists them")
    .action((address: string, paths: readonly string[], options: Options) =>
      run(address, options, (client) => remove(client, paths, options))
    );
  return command;
}

function subcommand(command: Command, name: string, description: string): Command {
  return addCredentialOptions(
    command.command(name).description(description)
      .argument(
        "<address>",
        `the controller, HOST[:PORT]; the port is ${CONTROLLER_PORT} by default`,
      ),
  ).option("--json", "print the result as JSON", false);
}

function repeated(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...before ?? [], value];
}

interface Ids {
  readonly first: number;
  readonly copies: number;
}

function parseIds(text: string, before: readonly Ids[] | undefined): readonly Ids[] {
  const match = /^(\d{1,10})(?:-(\d{1,10}))?$/.exec(text);
  const first = Number(match?.[1]);
  const copies = Number(match?.[2] ?? match?.[1]) - first + 1;
  if (match === null || copies < 1 || copies > 1_000_000) {
    throw new InvalidArgumentError("Expected a model's number, or a range such as 7-9.");
  }
  return [...before ?? [], { first, copies }];
}

async function run(
  address: string,
  options: Options,
  work: (client: ClockworkClient) => Promise<void>,
): Promise<void> {
  try {
    parseAddress(address, CONTROLLER_PORT);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const credentials = readCredentials(options);
  let client: ClockworkClient;
  try {
    client = await connect(address, { ...asPeer(credentials), reconnectNs: 0 });
  } catch (error) {
    throw new CliError((error as Error).message);
  }
  try {
    await work(client);
  } catch (error) {
    const told = error instanceof RequestError || error instanceof UploadFileError;
    throw told ? new CliError(error.message) : error;
  } finally {
    await client.close();
  }
}

async function list(client: ClockworkClient, { json }: Options): Promise<void> {
  const catalogue = await client.describeModels();
  const models = catalogue.models;
  if (json) return console.log(JSON.stringify(models));
  for (const { id, copies, path, status } of models) {
    console.log(`${idsOf(id, copies).padEnd(12)} ${status.padEnd(12)} ${path}`);
  }
  console.error(`${models.reduce((sum, { copies }) => sum + copies, 0)} models`);
}

async function load(
  client: ClockworkClient,
  path: string,
  copies: number,
  { worker = [], json }: { readonly worker?: readonly string[]; readonly json: boolean },
): Promise<void> {
  const models = await client.loadModel(path, copies, worker);
  const { id } = models[0]!;
  if (json) console.log(JSON.stringify({ id, copies, path }));
  else console.log(`Loaded ${path} as ${idsOf(id, copies)}`);
}

async function upload(
  client: ClockworkClient,
  path: string,
  { name, load: copies, worker = [], json }: UploadOptions,
): Promise<void> {
  const files = await modelFiles(path);
  const called = name ?? nameOf(path);
  const progress = Deno.stderr.isTerminal();
  const uploaded = await client.uploadModel(called, files, {
    workers: worker,
    onProgress: (sent, total) => {
      if (progress) show(`\r${called}: ${describeBytes(sent)} of ${describeBytes(total)}   `);
    },
  });
  if (progress && uploaded.workers !== null) show("\n");
  if (uploaded.problems !== "") console.error(`Not on all workers: ${uploaded.problems}`);
  if (copies !== undefined) return await load(client, uploaded.path, copies, { worker, json });
  if (json) return console.log(JSON.stringify(uploaded));
  const where = uploaded.workers === null
    ? "was there already"
    : `is on ${countOfWorkers(uploaded.workers)}`;
  console.log(`${uploaded.path} ${where}`);
}

async function unload(
  client: ClockworkClient,
  ranges: readonly Ids[],
  { json }: Options,
): Promise<void> {
  for (const { first, copies } of ranges) {
    await client.unloadModels(first, copies);
    if (!json) console.log(`Unloaded ${idsOf(first, copies)}`);
  }
  if (json) console.log(JSON.stringify({ unloaded: ranges }));
}

async function listUploads(client: ClockworkClient, { json }: Options): Promise<void> {
  const uploads = await client.listUploads();
  if (json) return console.log(JSON.stringify(uploads));
  for (const { path, bytes, workers, copies } of uploads) {
    const state = copies === 0 ? "not loaded" : copies === 1 ? "1 copy" : `${copies} copies`;
    const where = countOfWorkers(workers);
    console.log(
      `${describeBytes(bytes).padStart(9)}  ${where.padEnd(11)} ${state.padEnd(12)} ${path}`,
    );
  }
  const total = uploads.reduce((sum, { bytes }) => sum + bytes, 0);
  console.error(`${uploads.length} uploads, ${describeBytes(total)}`);
}

async function remove(
  client: ClockworkClient,
  paths: readonly string[],
  { json }: Options,
): Promise<void> {
  const removed: (UploadRemoved & { readonly path: string })[] = [];
  for (const path of paths) {
    const result = await client.removeUpload(path);
    removed.push({ path, ...result });
    const { workers, problems } = result;
    if (!json && workers > 0) console.log(`Removed ${path} from ${countOfWorkers(workers)}`);
    else if (!json && problems === "") console.log(`${path} was not there`);
  }
  if (json) console.log(JSON.stringify(removed));
  const left = removed.filter(({ problems }) => problems !== "");
  if (left.length === 0) return;
  throw new CliError(left.map(({ path, problems }) => `${path} is left: ${problems}`).join("\n"));
}

function idsOf(first: number, copies: number): string {
  return copies === 1 ? `model ${first}` : `models ${first}-${first + copies - 1}`;
}

/** Of `a/NAME/model.onnx` and `a/NAME`, NAME; of `a/NAME.onnx`, too. */
function nameOf(path: string): string {
  const name = basename(resolve(path)).replace(/\.onnx$/, "");
  return name === "model" ? basename(dirname(resolve(path))) : name;
}

function show(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(text));
}

function countOfWorkers(n: number): string {
  return n === 1 ? "1 worker" : `${n} workers`;
}
