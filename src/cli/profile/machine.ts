/** What checks see of the machine, so that tests can simulate any machine. */
import { statfsSync } from "node:fs";

export interface Machine {
  readonly os: typeof Deno.build.os;
  readonly cores: number;
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number };
  /** Running programs on average over the last minute; null where the system does not say. */
  readonly load: number | null;
  env(name: string): string | undefined;
  /** A file's text; null when there is none; throws NotCapable when Deno may not read it. */
  readText(path: string): string | null;
  /** Bytes that may still be written in a directory; null when that cannot be told. */
  freeBytes(directory: string): number | null;
}

/** The one that this process runs on. */
export function thisMachine(): Machine {
  const { total, available } = Deno.systemMemoryInfo();
  return {
    os: Deno.build.os,
    cores: navigator.hardwareConcurrency,
    memory: { totalBytes: total, availableBytes: available },
    load: Deno.build.os === "windows" ? null : Deno.loadavg()[0]!,
    env: (name) => Deno.env.get(name) || undefined,
    readText(path) {
      try {
        return Deno.readTextFileSync(path);
      } catch (error) {
        if (error instanceof Deno.errors.NotCapable) throw error;
        return null;
      }
    },
    freeBytes(directory) {
      try {
        const { bavail, bsize } = statfsSync(directory);
        return bavail * bsize;
      } catch {
        return null;
      }
    },
  };
}
