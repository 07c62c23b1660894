/**
 * The directories in which a worker finds models. It reads nothing outside of them, because peers that may
 * load models must not be able to make it open other files.
 */
import { isAbsolute, relative, resolve } from "node:path";

import { UPLOAD_PREFIX } from "../wire/upload.ts";

/** Longer paths are refused; it is also what Linux allows. */
export const MAX_PATH_LENGTH = 4096;

/** A model that cannot be found or read. The message is for people: what is wrong and what to do. */
export class ModelFileError extends Error {
  override readonly name = "ModelFileError";
}

export class ModelDirs {
  /** Absolute. Relative paths are looked up in them in this order. */
  readonly dirs: readonly string[];
  readonly #confined: boolean;
  readonly #uploads: string | null;

  private constructor(dirs: readonly string[], confined: boolean, uploads: string | null) {
    this.dirs = dirs.map((dir) => resolve(dir));
    this.#confined = confined;
    this.#uploads = uploads === null ? null : resolve(uploads);
  }

  /** Only what is in these directories may be read. */
  static only(...dirs: readonly string[]): ModelDirs {
    return new ModelDirs(dirs, true, null);
  }

  /** The same with a directory of uploaded models, whose paths begin with `uploads/` wherever it is. */
  withUploads(directory: string): ModelDirs {
    return new ModelDirs(this.dirs, this.#confined, directory);
  }

  /** Anything may be read; relative paths are looked up in `dir`. For what a user does by hand. */
  static anywhere(dir: string): ModelDirs {
    return new ModelDirs([dir], false, null);
  }

  /** The directories as the system names them, symbolic links followed; null when anything may be read. */
  get realDirs(): readonly string[] | null {
    if (!this.#confined) return null;
    return this.#all.map(realPath).filter((dir) => dir !== null);
  }

  /**
   * Where the model that `path` names may be. Nothing is looked up for a path that leads outside: an
   * answer would tell whether there is such a file.
   *
   * @throws {ModelFileError}
   */
  candidates(path: string): string[] {
    if (path === "" || path.includes("\0") || path.length > MAX_PATH_LENGTH) {
      throw new ModelFileError(
        `a model path must have 1 to ${MAX_PATH_LENGTH} characters and no NUL; this one has ` +
          `${path.length}`,
      );
    }
    if (this.#uploads !== null && path.startsWith(UPLOAD_PREFIX)) {
      const upload = resolve(this.#uploads, path.slice(UPLOAD_PREFIX.length));
      if (!contains(this.#uploads, upload)) throw this.#outside(path);
      return [upload];
    }
    if (!isAbsolute(path)) {
      const inside = this.dirs.filter((dir) =>
        !this.#confined || contains(dir, resolve(dir, path))
      );
      if (inside.length === 0) throw this.#outside(path);
      return inside.map((dir) => resolve(dir, path));
    }
    const absolute = resolve(path);
    const roots = [...this.#all, ...this.realDirs ?? []];
    if (this.#confined && !roots.some((dir) => contains(dir, absolute))) throw this.#outside(path);
    return [absolute];
  }

  /**
   * Refuses a file that is there, but outside once symbolic links are followed.
   *
   * @throws {ModelFileError}
   */
  confine(file: string): void {
    const { realDirs } = this;
    if (realDirs !== null && !isInside(file, realDirs)) throw this.#outside(file);
  }

  get #all(): readonly string[] {
    return this.#uploads === null ? this.dirs : [...this.dirs, this.#uploads];
  }

  #outside(path: string): ModelFileError {
    return new ModelFileError(
      `${path} is not in this worker's model directories, ${this.#all.join(", ")}: put the model ` +
        "there, or start the worker with --model-dir",
    );
  }
}

/** Whether a file is in one of these directories, which are real paths, once links are followed. */
export function isInside(file: string, realDirs: readonly string[]): boolean {
  const real = realPath(file);
  return real !== null && realDirs.some((dir) => contains(dir, real));
}

function contains(directory: string, path: string): boolean {
  const between = relative(directory, path);
  // On Windows, what is on another drive stays absolute.
  return between !== ".." && !/^\.\.[\\/]/.test(between) && !isAbsolute(between);
}

/** Null when there is no such file. */
function realPath(path: string): string | null {
  try {
    return Deno.realPathSync(path);
  } catch {
    return null;
  }
}
