/** Checks of a node's settings: models, configuration, directory for logs, ports, token. */
import { dirname, join } from "node:path";
import { ModelDir, ModelDirError } from "../../client/model_dir.ts";
import { describeBytes } from "../../wire/describe.ts";
import { ConfigError, readWorkerConfig } from "../../worker/config.ts";
import { ModelDirs, ModelFileError } from "../../worker/model_dirs.ts";
import { readModelFolder } from "../../worker/model_files.ts";
import { readCredentials } from "../options/access.ts";
import { UsageError } from "../exit.ts";
import { DEFAULT_LOG_FILE_MB, DEFAULT_LOG_FILES } from "../logs/log_file.ts";
import { type Check, checksOf } from "./check.ts";
import type { Machine } from "./machine.ts";

/** Two logs of the controller at their full length. */
const LOG_BYTES = 2 * DEFAULT_LOG_FILES * DEFAULT_LOG_FILE_MB * 1e6;

const check = checksOf("Cluster");

/** @param ports those on which this machine's nodes are to listen. */
export function clusterChecks(
  machine: Machine,
  modelDir: string,
  ports: readonly number[],
): Check[] {
  return [
    models(machine, modelDir),
    config(machine),
    logDir(machine),
    token(),
    ...ports.map(port),
  ];
}

function models(machine: Machine, modelDir: string): Check {
  const name = "Model directory";
  const given = machine.env("CLOCKWORK_MODEL_DIR") !== undefined;
  const fix = given
    ? `mkdir -p ${quoted(modelDir)}, with a folder NAME/model.onnx for each model; or ` +
      "export CLOCKWORK_MODEL_DIR=DIRECTORY"
    : "export CLOCKWORK_MODEL_DIR=DIRECTORY";
  let found: ModelDir;
  try {
    found = ModelDir.read(modelDir);
  } catch (error) {
    if (!(error instanceof ModelDirError)) throw error;
    return check(name, "failed", `${modelDir} cannot be listed`, fix);
  }
  if (found.names.length === 0) return check(name, "failed", `no models in ${modelDir}`, fix);
  const dirs = ModelDirs.only(modelDir);
  let runnable = 0;
  for (const model of found.names) {
    try {
      if (readModelFolder(model, dirs).onnxPath !== null) runnable++;
    } catch (error) {
      if (!(error instanceof ModelFileError)) throw error;
      const folder = join(modelDir, model);
      return check(name, "warning", error.message, `correct the model, or remove ${folder}`);
    }
  }
  const count = found.names.length;
  return check(
    name,
    runnable > 0 ? "ok" : "warning",
    `${count} model${count === 1 ? "" : "s"} in ${modelDir}, ` +
      (runnable === count ? "all with" : `${runnable} with`) + " an ONNX file",
    "export CLOCKWORK_MODEL_DIR=DIRECTORY: profiles without ONNX files serve worker-dummy only",
    { path: modelDir, models: count, onnx: runnable },
  );
}

function config(machine: Machine): Check {
  const name = "Configuration";
  const path = machine.env("CLOCKWORK_CONFIG_FILE");
  if (path === undefined) {
    return check(name, "ok", "CLOCKWORK_CONFIG_FILE is not set: the defaults");
  }
  try {
    readWorkerConfig(path);
    return check(name, "ok", path);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return check(name, "failed", error.message, "unset CLOCKWORK_CONFIG_FILE, or correct the file");
  }
}

function logDir(machine: Machine): Check {
  const name = "Log directory";
  const directory = machine.env("CLOCKWORK_LOG_DIR");
  if (directory === undefined && !isDirectory("/local")) {
    return check(
      name,
      "warning",
      "none: the controller logs nothing",
      "export CLOCKWORK_LOG_DIR=DIRECTORY",
    );
  }
  const path = directory ?? "/local";
  const problem = writeProblem(path);
  if (problem !== null) {
    return check(
      name,
      "failed",
      `${path} cannot be written: ${problem}`,
      `sudo install -d -o "$(id -un)" ${quoted(path)}`,
    );
  }
  const free = machine.freeBytes(existing(path));
  const scarce = free !== null && free < LOG_BYTES;
  return check(
    name,
    scarce ? "warning" : "ok",
    path + (free === null ? "" : `, ${describeBytes(free)} free`),
    "clockwork controller --log-files 2: the logs may grow to " + describeBytes(LOG_BYTES),
  );
}

/** Why nothing can be written to a directory, which a controller would make; null when it can. */
function writeProblem(path: string): string | null {
  const probe = join(existing(path), `.clockwork-${crypto.randomUUID()}`);
  try {
    Deno.writeFileSync(probe, new Uint8Array(0));
    Deno.removeSync(probe);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** A directory, or the nearest above it that exists. */
function existing(path: string): string {
  while (!exists(path) && dirname(path) !== path) path = dirname(path);
  return path;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

function token(): Check {
  const name = "Token";
  const fix = 'export CLOCKWORK_TOKEN="$(openssl rand -hex 32)", the same on all machines';
  try {
    const { token, tls } = readCredentials({});
    if (token !== null) return check(name, "ok", "set");
    return tls === null
      ? check(name, "warning", "not set: nodes serve this machine only", fix)
      : check(name, "ok", "not set: nodes ask for certificates");
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return check(name, "failed", error.message, fix);
  }
}

function port(number: number): Check {
  const name = `Port ${number}`;
  try {
    Deno.listen({ hostname: "0.0.0.0", port: number }).close();
    return check(name, "ok", "free");
  } catch (error) {
    const inUse = error instanceof Deno.errors.AddrInUse;
    return check(
      name,
      "warning",
      inUse ? "in use" : (error as Error).message,
      inUse
        ? `ss -ltnp 'sport = :${number}' shows by whom; a node takes another port with -p`
        : "a node takes another port with -p",
    );
  }
}

/** As a shell takes it. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
