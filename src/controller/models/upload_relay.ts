/**
 * Copies uploaded models from a worker that has them to one that connected later, piece by piece through
 * the controller, which stores nothing.
 */
import type { Log } from "../../core/log.ts";
import type { Header } from "../../wire/messages.ts";
import { payloads } from "../../wire/payload_pool.ts";
import { UPLOAD_CHUNK_BYTES, UPLOAD_WINDOW, type UploadFile } from "../../wire/upload.ts";
import type { Result, WorkerPeer } from "../worker_peer.ts";

interface Piece {
  readonly file: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * Brings an upload to `to` from the first of `from` that has it. `done` is called once: with "" when it has
 * been brought, with null when nothing was to be done, as it is there or nobody has it, or with what went
 * wrong.
 */
export function bringUpload(
  log: Log,
  uploadId: number,
  path: string,
  from: readonly WorkerPeer[],
  to: WorkerPeer,
  done: (problem: string | null) => void,
): void {
  const [source, ...others] = from;
  if (source === undefined) return done(null);
  const ask = { model_path: path, file: 0, offset: 0, length: 0 };
  source.send("ReadUpload", ask, (told) => {
    if (told.kind !== "ReadUploadResult") {
      return bringUpload(log, uploadId, path, others, to, done);
    }
    const { files } = told.header;
    const begin = { upload_id: uploadId, model_name: path.split("/")[1]!, files };
    to.send("BeginUpload", begin, (begun) => {
      if (begun.kind !== "BeginUploadResult") return done(failureOf(begun));
      if (begun.header.complete === 1) return done(null);
      log(`Bringing ${path} from worker ${source.id} to worker ${to.id}`);
      new Relay(source, to, uploadId, path, files, done).start();
    });
  });
}

function failureOf(result: Result): string {
  return result.kind === "ErrorResult" ? result.header.message : `it answered by ${result.kind}`;
}

class Relay {
  readonly #from: WorkerPeer;
  readonly #to: WorkerPeer;
  readonly #id: number;
  readonly #path: string;
  readonly #pieces: Iterator<Piece>;
  readonly #done: (problem: string) => void;
  /** Pieces that have been asked for and not been passed on, in order; those that have come, with bytes. */
  readonly #asked: { readonly piece: Piece; bytes: Uint8Array | null }[] = [];
  #underWay = 0;
  /** No piece is left to be asked for. */
  #allAsked = false;
  #ended = false;

  constructor(
    from: WorkerPeer,
    to: WorkerPeer,
    id: number,
    path: string,
    files: readonly UploadFile[],
    done: (problem: string) => void,
  ) {
    this.#from = from;
    this.#to = to;
    this.#id = id;
    this.#path = path;
    this.#pieces = piecesOf(files);
    this.#done = done;
  }

  start(): void {
    for (let i = 0; i < UPLOAD_WINDOW; i++) this.#next();
  }

  #next(): void {
    if (this.#ended) return;
    const { value: piece, done } = this.#pieces.next();
    if (done === true) {
      this.#allAsked = true;
      if (this.#underWay === 0) this.#end("");
      return;
    }
    this.#underWay++;
    const asked: { piece: Piece; bytes: Uint8Array | null } = { piece, bytes: null };
    this.#asked.push(asked);
    const ask: Header<"ReadUpload"> = { model_path: this.#path, ...piece };
    this.#from.send("ReadUpload", ask, (read) => {
      if (this.#ended) return;
      if (read.kind !== "ReadUploadResult") return this.#end(failureOf(read));
      asked.bytes = read.payload;
      // Disks may be read in any order.
      while (this.#asked.length > 0 && this.#asked[0]!.bytes !== null) {
        const { piece, bytes } = this.#asked.shift()!;
        this.#pass(piece, bytes!);
      }
    });
  }

  #pass({ file, offset }: Piece, bytes: Uint8Array): void {
    const header = { upload_id: this.#id, file, offset };
    this.#to.send("UploadChunk", header, (written) => {
      payloads.release(bytes);
      this.#underWay--;
      if (this.#ended) return;
      if (written.kind !== "UploadChunkResult") return this.#end(failureOf(written));
      if (this.#allAsked && this.#underWay === 0) this.#end("");
      else this.#next();
    }, [bytes]);
  }

  #end(problem: string): void {
    if (this.#ended) return;
    this.#ended = true;
    const keep = problem === "" ? 1 : 0;
    this.#to.send("EndUpload", { upload_id: this.#id, keep }, (result) => {
      this.#done(problem === "" && result.kind !== "EndUploadResult" ? failureOf(result) : problem);
    });
  }
}

function* piecesOf(files: readonly UploadFile[]): Generator<Piece> {
  for (const [file, { size }] of files.entries()) {
    for (let offset = 0; offset < size; offset += UPLOAD_CHUNK_BYTES) {
      yield { file, offset, length: Math.min(UPLOAD_CHUNK_BYTES, size - offset) };
    }
  }
}
