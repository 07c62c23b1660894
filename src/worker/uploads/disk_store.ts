/**
 * Uploads on disk. Each is a folder, `NAME/VERSION`, with the model's files and `upload.json`, which lists
 * them. It is written elsewhere and renamed once everything is on disk, so that existing folders are always
 * complete. Several workers may share the directory.
 */
import { dirname, join } from "node:path";
import { z } from "zod";
import {
  UPLOAD_PREFIX,
  uploadBytes,
  type UploadFile,
  uploadOf,
  uploadPath,
} from "../../wire/upload.ts";
import type { Done, PartialUpload, UploadStore } from "./store.ts";

const MANIFEST = "upload.json";
/** `model.json` as it was uploaded: the worker adds what it measures to the other. */
const UPLOADED_JSON = "uploaded.model.json";
const PARTIAL = ".partial-";
const MAX_MANIFEST_BYTES = 64 * 1024;

const manifestSchema = z.object({
  name: z.string(),
  files: z.array(z.object({ name: z.string(), size: z.int(), sha256: z.string() })),
});

export class DiskUploadStore implements UploadStore {
  readonly #directory: string;
  readonly #sizes = new Map<string, number>();
  /** Files are deleted one upload after the other. */
  #deleting: Promise<void> = Promise.resolve();

  /**
   * Opens a directory, made if missing, and removes what was left unfinished in it.
   *
   * @throws {Error} when it cannot be used.
   */
  constructor(directory: string) {
    this.#directory = directory;
    Deno.mkdirSync(directory, { recursive: true });
    for (const { name, isDirectory } of Deno.readDirSync(directory)) {
      if (name.startsWith(PARTIAL)) removeIfLeft(join(directory, name));
      else if (isDirectory) this.#note(name);
    }
  }

  get sizes(): ReadonlyMap<string, number> {
    return this.#sizes;
  }

  refresh(done: () => void): void {
    this.#refresh().then(done, done);
  }

  filesOf(path: string): readonly UploadFile[] | null {
    const folder = this.#folderOf(path);
    const files = folder === null ? null : readManifest(folder);
    // Another worker that shares the directory may have put it there.
    if (files !== null) this.#sizes.set(path, uploadBytes(files));
    else this.#sizes.delete(path);
    return files;
  }

  create(path: string, files: readonly UploadFile[]): PartialUpload {
    const partial = join(this.#directory, PARTIAL + crypto.randomUUID());
    Deno.mkdirSync(partial);
    return new DiskUpload(partial, this.#folderOf(path)!, files, () => {
      this.#sizes.set(path, uploadBytes(files));
    });
  }

  remove(path: string, done: (removed: boolean, problem: string) => void): void {
    if (this.filesOf(path) === null) return done(false, "");
    const folder = this.#folderOf(path)!;
    // As what is left unfinished: it goes at the next start if its files cannot be deleted now.
    const leaving = join(this.#directory, PARTIAL + crypto.randomUUID());
    try {
      Deno.renameSync(folder, leaving);
    } catch (error) {
      return done(false, (error as Error).message);
    }
    this.#sizes.delete(path);
    this.#deleting = this.#deleting.then(async () => {
      await syncDirectory(dirname(folder));
      await remove(leaving);
    }).then(() => done(true, ""), (error) => {
      done(true, `it is gone, but its files cannot be deleted: ${(error as Error).message}`);
    });
  }

  read(
    path: string,
    { name }: UploadFile,
    offset: number,
    length: number,
    done: (bytes: Uint8Array | null, problem: string) => void,
  ): void {
    const file = name === "model.json" ? UPLOADED_JSON : name;
    readPiece(join(this.#folderOf(path)!, file), offset, length).then(
      (bytes) => done(bytes, ""),
      (error) => done(null, `"${name}" cannot be read: ${(error as Error).message}`),
    );
  }

  /** Null for what is no path of an upload. */
  #folderOf(path: string): string | null {
    return uploadOf(path) === path ? join(this.#directory, path.slice(UPLOAD_PREFIX.length)) : null;
  }

  /** Uploads do not change: only those are read that have come or gone. */
  async #refresh(): Promise<void> {
    const found = new Set<string>();
    for await (const { name, isDirectory } of Deno.readDir(this.#directory)) {
      if (!isDirectory || name.startsWith(PARTIAL)) continue;
      for await (const { name: version } of Deno.readDir(join(this.#directory, name))) {
        found.add(`${UPLOAD_PREFIX}${name}/${version}`);
      }
    }
    for (const path of found.symmetricDifference(this.#sizes)) this.filesOf(path);
  }

  #note(name: string): void {
    for (const { name: version } of Deno.readDirSync(join(this.#directory, name))) {
      this.filesOf(`${UPLOAD_PREFIX}${name}/${version}`);
    }
  }
}

/** Null when the folder is not that of an upload. */
function readManifest(folder: string): readonly UploadFile[] | null {
  const path = join(folder, MANIFEST);
  try {
    if (Deno.statSync(path).size > MAX_MANIFEST_BYTES) return null;
    const { name, files } = manifestSchema.parse(JSON.parse(Deno.readTextFileSync(path)));
    return uploadPath(name, files).endsWith(folder.slice(-16)) ? files : null;
  } catch {
    return null;
  }
}

/** Removes a folder that no process writes to any more. */
function removeIfLeft(path: string): void {
  const folder = path.replace(/\.lock$/, "");
  using lock = Deno.openSync(`${folder}.lock`, { create: true, write: true });
  if (!lock.tryLockSync(true)) return;
  removeSync(folder);
  removeSync(`${folder}.lock`);
}

function removeSync(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** The same for large files, while inferences go on. */
async function remove(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function readPiece(path: string, offset: number, length: number): Promise<Uint8Array> {
  using file = await Deno.open(path);
  await file.seek(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array(length);
  let read = 0;
  while (read < length) {
    const count = await file.read(bytes.subarray(read));
    if (count === null) break;
    read += count;
  }
  return bytes.subarray(0, read);
}

/** Does one thing after the other. */
class DiskUpload implements PartialUpload {
  readonly #partial: string;
  readonly #folder: string;
  readonly #files: readonly UploadFile[];
  readonly #onKept: () => void;
  /** Tells other processes that this one is at it. */
  readonly #lock: Deno.FsFile;
  #open: { readonly name: string; readonly file: Deno.FsFile } | null = null;
  #last: Promise<void> = Promise.resolve();
  #discarded = false;

  constructor(
    partial: string,
    folder: string,
    files: readonly UploadFile[],
    onKept: () => void,
  ) {
    this.#partial = partial;
    this.#folder = folder;
    this.#files = files;
    this.#onKept = onKept;
    this.#lock = Deno.openSync(`${partial}.lock`, { create: true, write: true });
    this.#lock.lockSync(true);
  }

  write({ name }: UploadFile, bytes: Uint8Array, done: Done): void {
    this.#then(async () => {
      if (this.#open?.name !== name) {
        await this.#close();
        const file = await Deno.open(join(this.#partial, name), { createNew: true, write: true });
        this.#open = { name, file };
      }
      const { file } = this.#open!;
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    }, done);
  }

  keep(done: Done): void {
    this.#then(async () => {
      try {
        await this.#close();
        await this.#finish();
        this.#onKept();
      } finally {
        await this.#release();
      }
    }, done);
  }

  discard(): void {
    this.#discarded = true;
    this.#then(async () => {
      await this.#close().catch(() => {});
      await this.#release();
    }, () => {});
  }

  #then(work: () => Promise<void>, done: Done): void {
    this.#last = this.#last.then(work).then(() => done(""), (error) => done(error.message));
  }

  /** What has been written is on the disk. */
  async #close(): Promise<void> {
    if (this.#open === null) return;
    const { file } = this.#open;
    this.#open = null;
    try {
      if (!this.#discarded) await file.sync();
    } finally {
      file.close();
    }
  }

  async #finish(): Promise<void> {
    if (this.#files.some(({ name }) => name === "model.json")) {
      await copySynced(join(this.#partial, "model.json"), join(this.#partial, UPLOADED_JSON));
    }
    const name = this.#folder.split(/[\\/]/).at(-2)!;
    await writeSynced(
      join(this.#partial, MANIFEST),
      JSON.stringify({ name, files: this.#files }, null, 2) + "\n",
    );
    const parent = dirname(this.#folder);
    await Deno.mkdir(parent, { recursive: true });
    try {
      await Deno.rename(this.#partial, this.#folder);
    } catch (error) {
      // Another worker that shares the directory was faster. What is no upload is not replaced.
      if (readManifest(this.#folder) !== null) return;
      throw error;
    }
    for (const directory of [this.#folder, parent, dirname(parent)]) await syncDirectory(directory);
  }

  async #release(): Promise<void> {
    await remove(this.#partial);
    this.#lock.close();
    removeSync(`${this.#partial}.lock`);
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  using file = await Deno.open(path, { createNew: true, write: true });
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  await file.sync();
}

async function copySynced(from: string, to: string): Promise<void> {
  await Deno.copyFile(from, to);
  using file = await Deno.open(to, { write: true });
  await file.sync();
}

/** A rename is on the disk only with its directory. Windows cannot open those, and has no need. */
async function syncDirectory(path: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  using directory = await Deno.open(path);
  await directory.sync();
}
