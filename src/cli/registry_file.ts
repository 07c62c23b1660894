/** The controller's registry on disk: `registry` in the directory that --state-dir names. */
import { join } from "node:path";
import type { RegistryFile } from "../controller/models/registry.ts";
import { CliError } from "./exit.ts";

/** A registry is not larger: a million models take some 600 MB at most. */
const MAX_BYTES = 2 ** 30;

/**
 * Opens the directory's registry, and makes the directory if it is missing. One controller at a time may use
 * it: it is locked until the process ends.
 *
 * @throws {CliError} when that cannot be done, or another controller has it.
 */
export function openRegistryFile(directory: string): RegistryFile {
  const path = join(directory, "registry");
  try {
    // Others may not see where models are, nor change what is loaded.
    Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
    lock(join(directory, "lock"));
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`cannot use the state directory ${directory}: ${(error as Error).message}`);
  }
  return {
    name: path,
    read: () => readText(path),
    write: (contents, done) => {
      writeAtomically(directory, path, contents).then(
        () => done(""),
        (error) => done((error as Error).message),
      );
    },
    setAside: () => {
      const copy = `${path}.${new Date().toISOString().replaceAll(":", "-")}.bad`;
      Deno.renameSync(path, copy);
      return copy;
    },
  };
}

function lock(path: string): void {
  // Never closed: the system takes the lock back with the process, however that ends.
  const file = Deno.openSync(path, { create: true, write: true });
  if (!file.tryLockSync(true)) {
    file.close();
    throw new CliError(`${path} is locked: another controller uses this state directory`);
  }
}

function readText(path: string): string | null {
  try {
    const { size } = Deno.statSync(path);
    if (size > MAX_BYTES) throw new Error(`it has ${size} bytes, more than any registry`);
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** In turn, never two at a time: the registry sees to that. */
async function writeAtomically(directory: string, path: string, contents: string): Promise<void> {
  const temporary = `${path}.tmp`;
  {
    using file = await Deno.open(temporary, {
      create: true,
      truncate: true,
      write: true,
      mode: 0o600,
    });
    const bytes = new TextEncoder().encode(contents);
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    await file.sync();
  }
  await Deno.rename(temporary, path);
  // The rename itself is on disk only with the directory. Windows cannot open those, and has no need.
  if (Deno.build.os === "windows") return;
  using folder = await Deno.open(directory);
  await folder.sync();
}
