/** The worker's configuration: a TOML file of sizes and limits, see config/default.cfg. */
import { parse, TomlError } from "smol-toml";
import { z } from "zod";

/** Keys are written as in the file. Sizes are bytes. */
const schema = z.strictObject({
  weights_cache_size: z.union([size(1), z.literal("auto")]),
  weights_cache_page_size: size(1),
  io_pool_size: size(1),
  workspace_pool_size: size(0),
  host_io_pool_size: size(1),
  allow_zero_size_inputs: z.boolean(),
  max_queued_actions: count(1_000_000),
  max_models: count(1_000_000),
  max_model_size: size(1),
  max_batch_size: count(65536),
  host_weights_size: size(1),
  load_timeout_s: seconds(),
  action_timeout_s: seconds(),
  enable_task_telemetry: z.boolean(),
  enable_action_telemetry: z.boolean(),
  telemetry_log_dir: z.string().min(1),
});

export type WorkerConfig =
  & Readonly<Omit<z.infer<typeof schema>, "weights_cache_size">>
  & { readonly weights_cache_size: number };

/** A configuration as read from a file. */
export interface WorkerConfigFile {
  readonly config: WorkerConfig;
  /** The keys to which the file gives values; all others, and those that are "auto", have defaults. */
  readonly given: ReadonlySet<keyof WorkerConfig>;
}

export const DEFAULT_WORKER_CONFIG: WorkerConfig = {
  weights_cache_size: 23_085_449_216,
  weights_cache_page_size: 16_777_216,
  io_pool_size: 536_870_912,
  workspace_pool_size: 536_870_912,
  host_io_pool_size: 536_870_912,
  allow_zero_size_inputs: true,
  max_queued_actions: 10_000,
  max_models: 50_000,
  max_model_size: 4_294_967_296,
  max_batch_size: 16,
  host_weights_size: 17_179_869_184,
  load_timeout_s: 300,
  action_timeout_s: 30,
  enable_task_telemetry: false,
  enable_action_telemetry: false,
  telemetry_log_dir: "./",
};

/** A configuration that cannot be used. The message names file, key, value and what was expected. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** Most pages of a GPU's weights cache: their number is 32-bit on the wire. */
const MAX_PAGES = 0xffff_ffff;

function size(min: number) {
  return z.int().min(min);
}

function count(max: number) {
  return z.int().min(1).max(max);
}

function seconds() {
  return z.number().min(0.1).max(86_400);
}

/** What each key must hold, in words. */
const expectations: Readonly<Record<keyof WorkerConfig, string>> = {
  weights_cache_size: 'a whole number of bytes, at least 1, or "auto"',
  weights_cache_page_size: "a whole number of bytes, at least 1",
  io_pool_size: "a whole number of bytes, at least 1",
  workspace_pool_size: "a whole number of bytes",
  host_io_pool_size: "a whole number of bytes, at least 1",
  allow_zero_size_inputs: "true or false",
  max_queued_actions: "a whole number from 1 to 1000000",
  max_models: "a whole number from 1 to 1000000",
  max_model_size: "a whole number of bytes, at least 1",
  max_batch_size: "a whole number from 1 to 65536",
  host_weights_size: "a whole number of bytes, at least 1",
  load_timeout_s: "seconds, from 0.1 to 86400",
  action_timeout_s: "seconds, from 0.1 to 86400",
  enable_task_telemetry: "true or false",
  enable_action_telemetry: "true or false",
  telemetry_log_dir: "the path of a directory",
};

/**
 * Reads a configuration. Keys that are left out have their defaults.
 *
 * @param text TOML.
 * @param path of the file, for messages.
 * @throws {ConfigError} naming each key that is wrong.
 */
export function parseWorkerConfig(text: string, path: string): WorkerConfigFile {
  let values: Record<string, unknown>;
  try {
    values = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.split("\n")[0]!.replace(/^Invalid TOML document: /, "");
    throw new ConfigError(`${path}:${error.line}:${error.column}: not valid TOML: ${what}`);
  }
  const parsed = schema.safeParse({ ...DEFAULT_WORKER_CONFIG, ...values });
  if (!parsed.success) {
    throw new ConfigError(
      `${path}: ${parsed.error.issues.map((i) => explain(i, values)).join("; ")}`,
    );
  }
  const given = new Set(Object.keys(values) as (keyof WorkerConfig)[]);
  let { weights_cache_size } = parsed.data;
  if (weights_cache_size === "auto") {
    weights_cache_size = DEFAULT_WORKER_CONFIG.weights_cache_size;
    given.delete("weights_cache_size");
  }
  const config = { ...parsed.data, weights_cache_size };
  const pages = Math.floor(config.weights_cache_size / config.weights_cache_page_size);
  if (pages < 1 || pages > MAX_PAGES) {
    throw new ConfigError(
      `${path}: weights_cache_size = ${config.weights_cache_size} makes ${pages} pages of ` +
        `weights_cache_page_size = ${config.weights_cache_page_size}; expected 1 to ${MAX_PAGES}`,
    );
  }
  return { config, given };
}

function explain(issue: z.core.$ZodIssue, values: Readonly<Record<string, unknown>>): string {
  if (issue.code === "unrecognized_keys") {
    const known = Object.keys(expectations).join(", ");
    const keys = issue.keys.map((key) => `${key} = ${show(values[key])}`).join(", ");
    return `unknown key ${keys}; expected one of ${known}`;
  }
  const key = String(issue.path[0]) as keyof WorkerConfig;
  return `${key} = ${show(values[key])}; expected ${expectations[key]}`;
}

function show(value: unknown): string {
  return JSON.stringify(value, (_, inner) => typeof inner === "bigint" ? String(inner) : inner)
    .slice(0, 80);
}

/**
 * Reads the configuration in the file `path`.
 *
 * @throws {ConfigError} when it cannot be read, or is wrong.
 */
export function readWorkerConfig(path: string): WorkerConfigFile {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    throw new ConfigError(
      `cannot read the worker's configuration ${path}: ${(error as Error).message}`,
    );
  }
  return parseWorkerConfig(text, path);
}
