/**
 * A worker's uploads: each is announced, written piece by piece, checked, and kept completely or not at
 * all. Uploads that the controller leaves unfinished are discarded.
 */
import { createHash, type Hash } from "node:crypto";
import { type Clock, SECOND, type Timer } from "../../core/clock.ts";
import { ActionStatus } from "../../core/status.ts";
import type { ActionKind, MessageOf } from "../../wire/describe.ts";
import { payloads } from "../../wire/payload_pool.ts";
import {
  MAX_UPLOADS_KEPT,
  UPLOAD_CHUNK_BYTES,
  UPLOAD_WINDOW_BYTES,
  uploadBytes,
  type UploadFile,
  uploadPath,
  uploadProblem,
} from "../../wire/upload.ts";
import type { ActionRef, Requester } from "../action.ts";
import type { Failure } from "../backend.ts";
import type { PartialUpload, UploadStore } from "./store.ts";

export interface UploadLimits {
  /** Bytes of one upload. */
  readonly maxUploadBytes: number;
  /** Bytes of all. */
  readonly maxTotalBytes: number;
  /** Uploads that are kept, whatever their size. */
  readonly maxKept: number;
  /** Uploads at a time. */
  readonly maxUploads: number;
  /** An upload of which nothing comes for so long is given up. */
  readonly idleNs: number;
}

export const DEFAULT_UPLOAD_LIMITS: UploadLimits = {
  maxUploadBytes: 4 * 2 ** 30,
  maxTotalBytes: 64 * 2 ** 30,
  maxKept: MAX_UPLOADS_KEPT,
  maxUploads: 8,
  idleNs: 60 * SECOND,
};

interface Active {
  /** The controller's number for it. */
  readonly id: number;
  readonly requester: Requester;
  readonly path: string;
  readonly files: readonly UploadFile[];
  readonly partial: PartialUpload;
  /** The file that is being written, what has come of it, and its hash so far. */
  file: number;
  received: number;
  hash: Hash;
  /** Bytes that have come and have not been written. */
  writing: number;
  /** It is being kept: nothing more may come. */
  ending: boolean;
  lastNs: number;
  timer: Timer | null;
}

export type UploadAction = MessageOf<
  "BeginUpload" | "UploadChunk" | "EndUpload" | "ReadUpload" | "ListUploads" | "RemoveUploads"
>;

/** Longest message of a result, in characters. */
const MAX_MESSAGE_LENGTH = 4096;

export class Uploads {
  readonly #clock: Clock;
  readonly #store: UploadStore;
  readonly #limits: UploadLimits;
  readonly #active = new Set<Active>();
  /** Those that wait until it is known whether there is room. */
  readonly #waiting = new Set<{ readonly requester: Requester }>();

  constructor(clock: Clock, store: UploadStore, limits: UploadLimits) {
    this.#clock = clock;
    this.#store = store;
    this.#limits = limits;
  }

  /** Uploads that are under way. */
  get active(): number {
    return this.#active.size;
  }

  /**
   * Takes an action; exactly one call of `requester` will follow.
   *
   * @param loaded paths of the uploads that models need, which are not removed.
   */
  submit(
    message: UploadAction,
    requester: Requester,
    loaded: () => ReadonlySet<string>,
  ): void {
    const receivedNs = this.#clock.now();
    const ref = <K extends ActionKind>(kind: K): ActionRef<K> => ({
      kind,
      id: message.id,
      receivedNs,
    });
    const fail = (why: string, status: Failure["status"] = ActionStatus.invalidAction) =>
      requester.onFailure(ref(message.kind), status, why);
    switch (message.kind) {
      case "BeginUpload":
        return this.#begin(message.header, requester, (complete) => {
          if (typeof complete === "string") fail(complete);
          else requester.onSuccess(ref("BeginUpload"), { complete: complete ? 1 : 0 });
        });
      case "UploadChunk":
        return this.#write(message.header, message.payload, requester, (problem) => {
          payloads.release(message.payload);
          if (problem !== "") fail(problem);
          else requester.onSuccess(ref("UploadChunk"), {});
        });
      case "EndUpload":
        return this.#end(message.header, requester, (problem) => {
          if (problem !== "") fail(problem);
          else requester.onSuccess(ref("EndUpload"), {});
        });
      case "ReadUpload":
        return this.#read(message.header, (files, bytes, problem) => {
          if (problem !== "") fail(problem, ActionStatus.invalidModelPath);
          else requester.onSuccess(ref("ReadUpload"), { files }, bytes);
        });
      case "ListUploads":
        return this.#store.refresh(() => {
          const uploads = Array.from(
            this.#store.sizes,
            ([model_path, size]) => ({ model_path, size }),
          );
          // Somebody may have put more there by hand.
          uploads.length = Math.min(uploads.length, MAX_UPLOADS_KEPT);
          requester.onSuccess(ref("ListUploads"), { uploads });
        });
      case "RemoveUploads":
        return this.#remove(message.header.model_paths, loaded(), (removed, problems) => {
          requester.onSuccess(ref("RemoveUploads"), {
            no_of_uploads: removed,
            message: problems.join("; ").slice(0, MAX_MESSAGE_LENGTH),
          });
        });
    }
  }

  /** Forgets what a controller that is gone has begun. */
  abandon(requester: Requester): void {
    for (const upload of this.#active) if (upload.requester === requester) this.#drop(upload);
    for (const one of this.#waiting) if (one.requester === requester) this.#waiting.delete(one);
  }

  close(): void {
    this.#waiting.clear();
    for (const upload of this.#active) this.#drop(upload);
  }

  /** `done` is told whether it is there already, or why it cannot be taken. */
  #begin(
    { upload_id: id, model_name, files }: MessageOf<"BeginUpload">["header"],
    requester: Requester,
    done: (complete: boolean | string) => void,
  ): void {
    const problem = uploadProblem(model_name, files);
    if (problem !== null) return done(problem);
    const path = uploadPath(model_name, files);
    if (this.#store.filesOf(path) !== null) return done(true);
    const start = () => done(this.#start(id, path, files, requester) || false);
    if (this.#lackOfRoom(uploadBytes(files)) === "") return start();
    // Somebody may have removed uploads by hand.
    const one = { requester };
    this.#waiting.add(one);
    this.#store.refresh(() => {
      if (this.#waiting.delete(one)) start();
      else done("its controller has left");
    });
  }

  /** Why it cannot be taken; "" when it has begun. */
  #start(id: number, path: string, files: readonly UploadFile[], requester: Requester): string {
    const refusal = this.#refusal(uploadBytes(files));
    if (refusal !== "") return refusal;
    if (this.#find(id, requester) !== undefined) return `upload ${id} is under way already`;
    let partial: PartialUpload;
    try {
      partial = this.#store.create(path, files);
    } catch (error) {
      return `the upload cannot be stored: ${(error as Error).message}`;
    }
    const upload: Active = {
      id,
      requester,
      path,
      files,
      partial,
      file: 0,
      received: 0,
      hash: createHash("sha256"),
      writing: 0,
      ending: false,
      lastNs: this.#clock.now(),
      timer: null,
    };
    this.#active.add(upload);
    this.#watch(upload);
    return "";
  }

  #refusal(bytes: number): string {
    const { maxUploadBytes, maxUploads } = this.#limits;
    if (bytes > maxUploadBytes) {
      return `the upload has ${bytes} bytes, and this worker takes ${maxUploadBytes} at most: ` +
        "raise --max-upload-size";
    }
    if (this.#active.size >= maxUploads) {
      return `${maxUploads} uploads are under way, the limit of this worker: try again later`;
    }
    return this.#lackOfRoom(bytes);
  }

  #lackOfRoom(bytes: number): string {
    const { maxTotalBytes, maxKept } = this.#limits;
    const { sizes } = this.#store;
    const remove = "remove uploads by `clockwork models remove`";
    if (sizes.size + this.#active.size >= maxKept) {
      return `this worker has ${maxKept} uploads, as many as it keeps: ${remove}`;
    }
    let used = 0;
    for (const size of sizes.values()) used += size;
    for (const { files } of this.#active) used += uploadBytes(files);
    if (used + bytes <= maxTotalBytes) return "";
    return `the upload has ${bytes} bytes, and of ${maxTotalBytes} for uploads this worker has ` +
      `${Math.max(0, maxTotalBytes - used)} left: ${remove}, or raise --max-uploads-size`;
  }

  #write(
    { upload_id, file, offset }: MessageOf<"UploadChunk">["header"],
    bytes: Uint8Array,
    requester: Requester,
    done: (problem: string) => void,
  ): void {
    const upload = this.#find(upload_id, requester);
    if (upload === undefined) return done(unknown(upload_id));
    const fail = (problem: string) => {
      this.#drop(upload);
      done(problem);
    };
    const current = upload.files[upload.file];
    if (upload.ending || current === undefined || file !== upload.file) {
      return fail(`file ${file} of upload ${upload_id} is not the one that is to be written`);
    }
    if (offset !== upload.received || bytes.length < 1 || bytes.length > UPLOAD_CHUNK_BYTES) {
      return fail(
        `a piece of ${bytes.length} bytes at ${offset} came, where one of at most ` +
          `${UPLOAD_CHUNK_BYTES} at ${upload.received} should`,
      );
    }
    if (upload.received + bytes.length > current.size) {
      return fail(`"${current.name}" is longer than the ${current.size} bytes that were announced`);
    }
    if (upload.writing + bytes.length > UPLOAD_WINDOW_BYTES) {
      return fail(`more than ${UPLOAD_WINDOW_BYTES} bytes came before any were written`);
    }
    upload.lastNs = this.#clock.now();
    upload.received += bytes.length;
    upload.writing += bytes.length;
    upload.hash.update(bytes);
    if (upload.received === current.size) {
      const digest = upload.hash.digest("hex");
      if (digest !== current.sha256) {
        return fail(
          `the checksum of "${current.name}" is ${digest}, not ${current.sha256} as announced`,
        );
      }
      upload.file++;
      upload.received = 0;
      upload.hash = createHash("sha256");
    }
    upload.partial.write(current, bytes, (problem) => {
      upload.writing -= bytes.length;
      if (problem !== "") return fail(`"${current.name}" cannot be written: ${problem}`);
      done("");
    });
  }

  #end(
    { upload_id, keep }: MessageOf<"EndUpload">["header"],
    requester: Requester,
    done: (problem: string) => void,
  ): void {
    const upload = this.#find(upload_id, requester);
    if (upload === undefined) return done(keep === 1 ? unknown(upload_id) : "");
    if (keep === 0) {
      this.#drop(upload);
      return done("");
    }
    if (upload.file < upload.files.length) {
      this.#drop(upload);
      return done(`"${upload.files[upload.file]!.name}" is not complete`);
    }
    upload.ending = true;
    upload.partial.keep((problem) => {
      this.#active.delete(upload);
      upload.timer?.cancel();
      done(problem === "" ? "" : `the upload cannot be kept: ${problem}`);
    });
  }

  #read(
    { model_path, file, offset, length }: MessageOf<"ReadUpload">["header"],
    done: (files: readonly UploadFile[], bytes: readonly Uint8Array[], problem: string) => void,
  ): void {
    const files = this.#store.filesOf(model_path);
    const asked = files?.[file];
    if (files === null || asked === undefined) {
      return done([], [], `there is no upload ${model_path} with a file ${file}`);
    }
    if (length === 0) return done(files, [], "");
    this.#store.read(model_path, asked, offset, length, (bytes, problem) => {
      done([], bytes === null ? [] : [bytes], problem);
    });
  }

  #remove(
    paths: readonly string[],
    loaded: ReadonlySet<string>,
    done: (removed: number, problems: readonly string[]) => void,
  ): void {
    let count = 0;
    const problems: string[] = [];
    let waiting = paths.length;
    if (waiting === 0) return done(count, problems);
    for (const path of paths) {
      const ended = (removed: boolean, problem: string): void => {
        if (removed) count++;
        if (problem !== "") problems.push(`${path}: ${problem}`);
        if (--waiting === 0) done(count, problems);
      };
      if (loaded.has(path)) ended(false, "models of it are loaded: unload them first");
      else this.#store.remove(path, ended);
    }
  }

  #find(id: number, requester: Requester): Active | undefined {
    for (const upload of this.#active) {
      if (upload.id === id && upload.requester === requester) return upload;
    }
    return undefined;
  }

  #drop(upload: Active): void {
    // What is being kept is whole: it may as well be.
    if (upload.ending || !this.#active.delete(upload)) return;
    upload.timer?.cancel();
    upload.partial.discard();
  }

  /** Gives it up when nothing comes any more. */
  #watch(upload: Active): void {
    const dueNs = upload.lastNs + this.#limits.idleNs;
    upload.timer = this.#clock.at(dueNs, () => {
      if (this.#clock.now() >= upload.lastNs + this.#limits.idleNs) this.#drop(upload);
      else this.#watch(upload);
    });
  }
}

function unknown(id: number): string {
  return `there is no upload ${id}: it has not begun, has ended, failed, or took too long`;
}
