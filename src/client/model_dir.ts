/** The model directory as a client sees it: only names. The contents of models matter only to workers. */
import { isAbsolute, join, resolve } from "node:path";
import { UPLOAD_PREFIX } from "../wire/upload.ts";
import { nearest } from "./nearest.ts";

/** What a user named does not exist. The message says what there is. */
export class ModelDirError extends Error {
  override readonly name = "ModelDirError";
}

export class ModelDir {
  /** Absolute. */
  readonly path: string;
  /** Names of the models in it, sorted. */
  readonly names: readonly string[];

  private constructor(path: string, names: readonly string[]) {
    this.path = path;
    this.names = names;
  }

  /** Lists a directory's models: the folders that hold `model.onnx` or `model.json`. */
  static read(path: string): ModelDir {
    const absolute = resolve(path);
    const names: string[] = [];
    try {
      for (const entry of Deno.readDirSync(absolute)) {
        if (entry.isFile) continue;
        const folder = join(absolute, entry.name);
        if (exists(join(folder, "model.onnx")) || exists(join(folder, "model.json"))) {
          names.push(entry.name);
        }
      }
    } catch (error) {
      throw new ModelDirError(
        `cannot list the model directory ${absolute} (${(error as Error).message}); ` +
          "set CLOCKWORK_MODEL_DIR to a directory with one folder for each model",
      );
    }
    return new ModelDir(absolute, names.sort());
  }

  /**
   * The path by which workers are asked for a model: `DIR/NAME/model`. What has a slash is a path
   * already; the model may exist only on the workers, so nothing is looked up then. An upload's path is
   * the same everywhere.
   */
  pathOf(model: string): string {
    if (isAbsolute(model) || model.startsWith(UPLOAD_PREFIX)) return model;
    if (model.includes("/")) return resolve(model);
    if (!this.names.includes(model)) {
      const near = nearest(model, this.names);
      throw new ModelDirError(
        `no model \`${model}\` in ${this.path}; ` +
          (near === null ? "CLOCKWORK_MODEL_DIR names where to look" : `did you mean \`${near}\`?`),
      );
    }
    return join(this.path, model, "model");
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
