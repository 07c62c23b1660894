/** Sending a model's files to the workers, through the controller. */
import { UPLOAD_CHUNK_BYTES, UPLOAD_WINDOW, uploadBytes, type UploadFile } from "../wire/upload.ts";
import type { Client } from "./client.ts";
import { type Done, RequestError } from "./result.ts";

/** A file of a model, wherever it is. */
export interface UploadSource extends UploadFile {
  /** Reads `length` bytes from `offset` on. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export interface UploadOptions {
  /** Numbers or addresses of the workers that are to have the model; all by default. */
  readonly workers?: readonly string[];
  /** Called now and then with the bytes that all workers have, and the bytes that there are. */
  readonly onProgress?: (sent: number, total: number) => void;
}

export interface Uploaded {
  /** By which the model is loaded. The same files have the same path again. */
  readonly path: string;
  /** Workers that have it; null when all had it before, and nothing was sent. */
  readonly workers: number | null;
  /** Which workers have not got it, and why; "" when all have. */
  readonly problems: string;
}

/** @throws {RequestError} when no worker has got it. */
export async function upload(
  client: Client,
  name: string,
  sources: readonly UploadSource[],
  { workers = [], onProgress = () => {} }: UploadOptions,
): Promise<Uploaded> {
  const settled = <T>(ask: (done: Done<T>) => void): Promise<T> =>
    new Promise((resolve, reject) =>
      ask((result) =>
        result.ok ? resolve(result.value) : reject(new RequestError(`uploading ${name}`, result))
      )
    );
  const files = sources.map(({ name, size, sha256 }) => ({ name, size, sha256 }));
  const begun = await settled((done: Done<{ id: number; path: string; complete: boolean }>) =>
    client.beginUpload(name, files, workers, done)
  );
  const { id, path } = begun;
  if (begun.complete) return { path, workers: null, problems: "" };
  const total = uploadBytes(files);
  let sent = 0;
  const underWay = new Set<Promise<void>>();
  let failed: unknown = null;
  try {
    for (const [file, source] of sources.entries()) {
      for (let offset = 0; offset < source.size; offset += UPLOAD_CHUNK_BYTES) {
        const length = Math.min(UPLOAD_CHUNK_BYTES, source.size - offset);
        const bytes = await source.read(offset, length);
        while (underWay.size >= UPLOAD_WINDOW) await Promise.race(underWay);
        if (failed !== null) throw failed;
        const chunk: Promise<void> = settled<void>((done) =>
          client.uploadChunk(id, file, offset, bytes, done)
        ).then(() => {
          sent += length;
          onProgress(sent, total);
        }, (error) => {
          failed ??= error;
        }).finally(() => underWay.delete(chunk));
        underWay.add(chunk);
      }
    }
    await Promise.all(underWay);
    if (failed !== null) throw failed;
  } catch (error) {
    // The controller may have ended it already: then this is refused, which is as good.
    await settled<unknown>((done) => client.endUpload(id, false, done)).catch(() => {});
    throw error;
  }
  const ended = await settled((done: Done<{ workers: number; problems: string }>) =>
    client.endUpload(id, true, done)
  );
  return { path, ...ended };
}
