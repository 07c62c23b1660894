/** Sends a model's files to the workers, through the controller. */
import { RequestStatus } from "../core/status.ts";
import { UPLOAD_CHUNK_BYTES, UPLOAD_WINDOW, uploadBytes, type UploadFile } from "../wire/upload.ts";
import type { Client } from "./client.ts";
import type { Done, Failure } from "./result.ts";

/** A file of a model, wherever it is. */
export interface UploadSource extends UploadFile {
  /** Reads `length` bytes from `offset` on. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Reads a piece of a file. `done` is called once: with null and the reason if it cannot be read. */
export type ReadPiece = (
  file: number,
  offset: number,
  length: number,
  done: (bytes: Uint8Array | null, problem: string) => void,
) => void;

export interface UploadOptions {
  /** Numbers or addresses of the workers that should have the model; by default all. */
  readonly workers?: readonly string[];
  /** Called from time to time with the number of bytes that all workers have, and the total. */
  readonly onProgress?: (sent: number, total: number) => void;
}

export interface Uploaded {
  /** The path by which to load the model. The same files always have the same path. */
  readonly path: string;
  /** Number of workers that have it; null if all had it before, and nothing was sent. */
  readonly workers: number | null;
  /** Which workers do not have it, and why; "" if all have it. */
  readonly problems: string;
}

/** An upload that workers keep. */
export interface StoredUpload {
  readonly path: string;
  readonly bytes: number;
  /** Number of connected workers that have it. */
  readonly workers: number;
  /** Number of loaded copies. */
  readonly copies: number;
}

export interface UploadRemoved {
  /** Number of workers that have removed it. */
  readonly workers: number;
  /** Which workers still have it, and why; "" if none has. */
  readonly problems: string;
}

/** Sends files. `done` is called once: with a failure if no worker has received them. */
export function sendUpload(
  client: Client,
  name: string,
  sources: readonly UploadFile[],
  read: ReadPiece,
  { workers = [], onProgress = () => {} }: UploadOptions,
  done: Done<Uploaded>,
): void {
  const files = sources.map(({ name, size, sha256 }) => ({ name, size, sha256 }));
  client.beginUpload(name, files, workers, (begun) => {
    if (!begun.ok) return done(begun);
    const { id, path, complete } = begun.value;
    if (complete) {
      return done({ ...begun, value: { path, workers: null, problems: "" } });
    }
    new Sending(client, id, files, read, onProgress, (failure) => {
      if (failure === null) {
        client.endUpload(
          id,
          true,
          (ended) => done(ended.ok ? { ...ended, value: { path, ...ended.value } } : ended),
        );
      } else {
        // The controller may have ended it already: then this is refused, which is as good.
        client.endUpload(id, false, () => done(failure));
      }
    }).next();
  });
}

/** How {@link sendUpload} reads files that are read by promises. */
export function readerOf(sources: readonly UploadSource[]): ReadPiece {
  return async (file, offset, length, done) => {
    let bytes: Uint8Array;
    try {
      bytes = await sources[file]!.read(offset, length);
    } catch (error) {
      return done(null, error instanceof Error ? error.message : String(error));
    }
    done(bytes, "");
  };
}

/** The pieces of an upload: read one after the other, with a window of them on their way. */
class Sending {
  readonly #client: Client;
  readonly #id: number;
  readonly #files: readonly UploadFile[];
  readonly #read: ReadPiece;
  readonly #onProgress: (sent: number, total: number) => void;
  readonly #onEnd: (failure: Failure | null) => void;
  readonly #totalBytes: number;
  #sentBytes = 0;
  /** What is to be read next. */
  #file = 0;
  #offset = 0;
  #reading = false;
  #underWay = 0;
  #ended = false;

  constructor(
    client: Client,
    id: number,
    files: readonly UploadFile[],
    read: ReadPiece,
    onProgress: (sent: number, total: number) => void,
    onEnd: (failure: Failure | null) => void,
  ) {
    this.#client = client;
    this.#id = id;
    this.#files = files;
    this.#read = read;
    this.#onProgress = onProgress;
    this.#onEnd = onEnd;
    this.#totalBytes = uploadBytes(files);
  }

  /** Reads and sends the next piece if it may be sent by now. */
  next(): void {
    if (this.#ended || this.#reading || this.#underWay >= UPLOAD_WINDOW) return;
    const file = this.#file;
    const source = this.#files[file];
    if (source === undefined) {
      if (this.#underWay === 0) this.#end(null);
      return;
    }
    const offset = this.#offset;
    const length = Math.min(UPLOAD_CHUNK_BYTES, source.size - offset);
    this.#offset += length;
    if (this.#offset === source.size) {
      this.#file++;
      this.#offset = 0;
    }
    this.#reading = true;
    this.#read(file, offset, length, (bytes, problem) => {
      this.#reading = false;
      if (this.#ended) return;
      if (bytes === null) return this.#end(unreadable(source.name, problem));
      this.#send(file, offset, bytes);
      this.next();
    });
  }

  #send(file: number, offset: number, bytes: Uint8Array): void {
    this.#underWay++;
    this.#client.uploadChunk(this.#id, file, offset, bytes, (written) => {
      this.#underWay--;
      if (this.#ended) return;
      if (!written.ok) return this.#end(written);
      this.#sentBytes += bytes.length;
      this.#onProgress(this.#sentBytes, this.#totalBytes);
      this.next();
    });
  }

  #end(failure: Failure | null): void {
    this.#ended = true;
    this.#onEnd(failure);
  }
}

function unreadable(name: string, problem: string): Failure {
  const message = `"${name}" cannot be read: ${problem}`;
  return { ok: false, from: "client", status: RequestStatus.error, message, latencyNs: 0 };
}
