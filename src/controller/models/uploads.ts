/**
 * Forwards models from clients to workers. Nothing is stored here: each piece goes to all workers that
 * should have it, and the client sends another one when they have written it. A slow worker thus slows the
 * upload down, and at most {@link UPLOAD_WINDOW} pieces of it are in memory.
 */
import { type Clock, SECOND, type Timer } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import { RequestStatus } from "../../core/status.ts";
import { describeAction, describeResult } from "../../wire/describe.ts";
import type { Header } from "../../wire/messages.ts";
import { payloads } from "../../wire/payload_pool.ts";
import {
  UPLOAD_CHUNK_BYTES,
  UPLOAD_WINDOW,
  uploadBytes,
  uploadPath,
  uploadProblem,
} from "../../wire/upload.ts";
import { invalid, type Outcome, type Refusal } from "./request_keys.ts";
import type { Result, WorkerPeer } from "../worker_peer.ts";

/** Uploads at a time: together they may delay an inference by their windows. */
const MAX_UPLOADS = 2;
/** An upload of which nothing comes for so long is given up. */
const IDLE_NS = 60 * SECOND;

interface Active {
  readonly id: number;
  /** Who sends it. */
  readonly owner: object;
  readonly path: string;
  /** The workers that take it: those that fail are taken out. */
  readonly peers: Set<WorkerPeer>;
  /** Those that have it all already. */
  readonly complete: Set<WorkerPeer>;
  /** Why workers have not got it. */
  readonly problems: string[];
  /** Its owner left before it was announced everywhere. */
  abandoned: boolean;
  /** Pieces that workers have not all written. */
  underWay: number;
  lastNs: number;
  timer: Timer | null;
}

type Done<Answer> = (outcome: Outcome<Answer>) => void;

export class Uploads {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #maxBytes: number;
  readonly #active = new Map<number, Active>();
  /** Those that workers have not answered yet. */
  readonly #beginning = new Set<Active>();
  #nextId = 0;

  /** @param maxBytes of one upload. */
  constructor(clock: Clock, log: Log, maxBytes: number) {
    this.#clock = clock;
    this.#log = log;
    this.#maxBytes = maxBytes;
  }

  /** A number for an upload that is not in use. */
  nextId(): number {
    return this.#nextId = (this.#nextId + 1) % 2 ** 32;
  }

  /** Whether files of this path are on their way. */
  isUnderWay(path: string): boolean {
    return [...this.#active.values(), ...this.#beginning].some((upload) => upload.path === path);
  }

  /** Announces an upload to workers. Calls of `done` come once, also of those below. */
  begin(
    owner: object,
    { model_name, files }: Header<"BeginUploadRequest">,
    peers: readonly WorkerPeer[],
    done: Done<Header<"BeginUploadResponse">>,
  ): void {
    const problem = uploadProblem(model_name, files);
    if (problem !== null) return done(invalid(problem));
    if (uploadBytes(files) > this.#maxBytes) {
      return done(invalid(
        `the upload has ${uploadBytes(files)} bytes, and this controller takes ` +
          `${this.#maxBytes} at most: raise --max-upload-size`,
      ));
    }
    if (this.#active.size + this.#beginning.size >= MAX_UPLOADS) {
      return done({
        status: RequestStatus.unavailable,
        message: `${MAX_UPLOADS} uploads are under way, as many as may be: try again later`,
      });
    }
    const upload: Active = {
      id: this.nextId(),
      owner,
      path: uploadPath(model_name, files),
      peers: new Set(peers),
      complete: new Set(),
      problems: [],
      abandoned: false,
      underWay: 0,
      lastNs: this.#clock.now(),
      timer: null,
    };
    const header = { upload_id: upload.id, model_name, files };
    this.#beginning.add(upload);
    const answer = (complete: 0 | 1) =>
      done({ answer: { upload_id: upload.id, model_path: upload.path, complete } });
    this.#toAll(upload, "BeginUpload", header, [], (peer, result) => {
      if (result.kind !== "BeginUploadResult" || result.header.complete === 0) return;
      upload.peers.delete(peer);
      upload.complete.add(peer);
    }, () => {
      this.#beginning.delete(upload);
      if (upload.peers.size > 0) {
        this.#active.set(upload.id, upload);
        this.#watch(upload);
        if (upload.abandoned) this.#cancel(upload);
        answer(0);
      } else if (upload.complete.size > 0) answer(1);
      else done(this.#failure(upload));
    });
  }

  /** Passes a piece on; `done` is called when all workers have written it. Takes the memory of `bytes`. */
  chunk(
    owner: object,
    header: Header<"UploadChunkRequest">,
    bytes: Uint8Array,
    done: Done<true>,
  ): void {
    const upload = this.#find(owner, header.upload_id);
    if ("status" in upload) return done(upload);
    if (bytes.length > UPLOAD_CHUNK_BYTES || upload.underWay >= UPLOAD_WINDOW) {
      this.#cancel(upload);
      return done(invalid(
        `pieces have ${UPLOAD_CHUNK_BYTES} bytes at most, and at most ${UPLOAD_WINDOW} may be on ` +
          "their way: await their answers",
      ));
    }
    upload.lastNs = this.#clock.now();
    upload.underWay++;
    this.#toAll(upload, "UploadChunk", header, [bytes], () => {}, () => {
      payloads.release(bytes);
      upload.underWay--;
      if (upload.peers.size > 0) return done({ answer: true });
      this.#forget(upload);
      done(this.#failure(upload));
    });
  }

  /** Has the workers keep what they got, or forget it. */
  end(
    owner: object,
    header: Header<"EndUploadRequest">,
    done: Done<Header<"EndUploadResponse">>,
  ): void {
    const upload = this.#find(owner, header.upload_id);
    if ("status" in upload) return done(upload);
    this.#forget(upload);
    this.#toAll(upload, "EndUpload", header, [], () => {}, () => {
      const workers = upload.peers.size + upload.complete.size;
      if (workers === 0) return done(this.#failure(upload));
      const message = upload.problems.join("; ");
      done({ answer: { model_path: upload.path, no_of_workers: workers, message } });
    });
  }

  /** Cancels what a client that is gone was sending. */
  left(owner: object): void {
    for (const upload of this.#beginning) upload.abandoned ||= upload.owner === owner;
    for (const upload of [...this.#active.values()]) {
      if (upload.owner === owner) this.#cancel(upload);
    }
  }

  #find(owner: object, id: number): Active | Refusal {
    const upload = this.#active.get(id);
    if (upload !== undefined && upload.owner === owner) return upload;
    return invalid(`there is no upload ${id}: it has ended, failed, or took too long; begin again`);
  }

  #failure({ problems }: Active): Refusal {
    return { status: RequestStatus.error, message: problems.join("; ") };
  }

  #forget(upload: Active): void {
    this.#active.delete(upload.id);
    upload.timer?.cancel();
  }

  #cancel(upload: Active): void {
    if (!this.#active.has(upload.id)) return;
    this.#forget(upload);
    this.#toAll(upload, "EndUpload", { upload_id: upload.id, keep: 0 }, [], () => {}, () => {});
  }

  /** Sends an action to all workers that take the upload; `then` is called when all have answered. */
  #toAll<K extends "BeginUpload" | "UploadChunk" | "EndUpload">(
    upload: Active,
    kind: K,
    header: Header<K>,
    payload: readonly Uint8Array[],
    onResult: (peer: WorkerPeer, result: Result) => void,
    then: () => void,
  ): void {
    const peers = [...upload.peers];
    const quiet = kind === "UploadChunk";
    let waiting = peers.length;
    if (waiting === 0) return then();
    for (const peer of peers) {
      const id = peer.send(kind, header, (result) => {
        const failed = result.kind !== `${kind}Result`;
        if (!quiet || failed) this.#log(`Worker  --> ${describeResult(result)}`);
        if (failed) {
          upload.peers.delete(peer);
          const why = result.kind === "ErrorResult" ? result.header.message : result.kind;
          upload.problems.push(`worker ${peer.id}: ${why}`);
        } else onResult(peer, result);
        if (--waiting === 0) then();
      }, payload);
      // The compiler does not see that kind and header belong together.
      const action = { kind, id, header } as Parameters<typeof describeAction>[0];
      if (!quiet) this.#log(`Worker <--  ${describeAction(action, this.#clock.now())}`);
    }
  }

  #watch(upload: Active): void {
    upload.timer = this.#clock.at(upload.lastNs + IDLE_NS, () => {
      if (this.#clock.now() < upload.lastNs + IDLE_NS) return this.#watch(upload);
      this.#log(`Upload of ${upload.path} is given up: nothing has come of it for a minute`);
      this.#cancel(upload);
    });
  }
}
