/** Where uploaded models are kept: on disk in production, in memory in tests. */
import type { UploadFile } from "../../wire/upload.ts";

/** Called once, now or later: with "" when it is done, or with what went wrong. */
export type Done = (problem: string) => void;

/** What is kept by path: see `uploadPath`. */
export interface UploadStore {
  /** Bytes of each upload that is complete, by path, as far as is known: see {@link refresh}. */
  readonly sizes: ReadonlyMap<string, number>;
  /** Looks what there is: others may have brought uploads, or removed some. */
  refresh(done: () => void): void;
  /** The files of an upload that is complete; null when there is none. */
  filesOf(path: string): readonly UploadFile[] | null;
  /**
   * Makes room for an upload, which is kept apart until it is complete.
   *
   * @throws {Error} when that cannot be done.
   */
  create(path: string, files: readonly UploadFile[]): PartialUpload;
  /**
   * Removes an upload: from this call on there is none at the path. `done` is told, when its files are gone,
   * whether there was one, and what went wrong, or "".
   */
  remove(path: string, done: (removed: boolean, problem: string) => void): void;
  /** Reads a piece of a file as it was uploaded. `done` is called once: with null when it cannot. */
  read(
    path: string,
    file: UploadFile,
    offset: number,
    length: number,
    done: (bytes: Uint8Array | null, problem: string) => void,
  ): void;
}

/** An upload that is under way. Calls may follow each other before the first is done. */
export interface PartialUpload {
  /** Appends to a file. Files are written one after the other. `bytes` are read until `done` is called. */
  write(file: UploadFile, bytes: Uint8Array, done: Done): void;
  /** Keeps what has been written, whatever happens afterwards, at its path. */
  keep(done: Done): void;
  /** Forgets what has been written. */
  discard(): void;
}
