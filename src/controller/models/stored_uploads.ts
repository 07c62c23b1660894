/**
 * Uploads that workers keep: which there are, and their removal. One that is removed goes from the workers
 * that are connected at once, and from others when they come again; until it is uploaded again it cannot
 * be loaded, wherever some of it may be left.
 */
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import { RequestStatus } from "../../core/status.ts";
import { describeAction, describeResult } from "../../wire/describe.ts";
import { type Header, MAX_UPLOADS_LISTED } from "../../wire/messages.ts";
import { MAX_UPLOADS_REMOVED, uploadOf } from "../../wire/upload.ts";
import type { WorkerPeer } from "../worker_peer.ts";
import type { ModelRange } from "./loading.ts";
import { invalid, type Refusal } from "./request_keys.ts";

type Listed = Header<"ListUploadsResponse">["uploads"];
type Removed = Header<"RemoveUploadResponse">;

export class StoredUploads {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #isUnderWay: (path: string) => boolean;
  /** Those that were removed and not uploaded again, oldest first: as many as one message tells. */
  readonly #removed = new Set<string>();

  /** @param isUnderWay whether files of a path are being sent. */
  constructor(clock: Clock, log: Log, isUnderWay: (path: string) => boolean) {
    this.#clock = clock;
    this.#log = log;
    this.#isUnderWay = isUnderWay;
  }

  /** What a later controller has to know. */
  get removed(): ReadonlySet<string> {
    return this.#removed;
  }

  restore(removed: Iterable<string>): void {
    for (const path of removed) this.#note(path);
  }

  /** Whether a model cannot be loaded as its upload was removed. */
  isRemoved(modelPath: string): boolean {
    const path = uploadOf(modelPath);
    return path !== null && this.#removed.has(path);
  }

  /** It is uploaded again. Returns whether it was removed before. */
  takeBack(path: string): boolean {
    return this.#removed.delete(path);
  }

  /** Asks workers for their uploads; `done` is told them by path, with what is loaded of each. */
  list(
    peers: readonly WorkerPeer[],
    loaded: Iterable<ModelRange>,
    done: (uploads: Listed) => void,
  ): void {
    const copies = new Map<string, number>();
    for (const range of loaded) {
      const path = uploadOf(range.path);
      if (path !== null) copies.set(path, (copies.get(path) ?? 0) + range.copies);
    }
    const found = new Map<string, { size: number; no_of_workers: number }>();
    let waiting = peers.length;
    const end = () => {
      const uploads = Array.from(found, ([model_path, { size, no_of_workers }]) => ({
        model_path,
        size,
        no_of_workers,
        no_of_copies: copies.get(model_path) ?? 0,
      }));
      uploads.sort((a, b) => a.model_path < b.model_path ? -1 : 1);
      done(uploads.slice(0, MAX_UPLOADS_LISTED));
    };
    if (waiting === 0) return end();
    for (const peer of peers) {
      peer.send("ListUploads", {}, (result) => {
        if (result.kind === "ListUploadsResult") {
          for (const { model_path: path, size } of result.header.uploads) {
            const workers = found.get(path)?.no_of_workers ?? 0;
            found.set(path, { size, no_of_workers: workers + 1 });
          }
        } else this.#log(`Worker  --> ${describeResult(result)}`);
        if (--waiting === 0) end();
      });
    }
  }

  /**
   * Why an upload cannot be removed; null when it can.
   *
   * @param loaded models that can be used.
   * @param busy models that are being loaded or unloaded.
   */
  refusal(
    path: string,
    loaded: Iterable<ModelRange>,
    busy: readonly ModelRange[],
  ): Refusal | null {
    if (uploadOf(path) !== path) {
      return invalid(
        `"${path}" is no path of an upload: \`models uploads\` lists them, such as uploads/NAME/0123456789abcdef`,
      );
    }
    for (const { path: modelPath, firstId, copies } of loaded) {
      if (uploadOf(modelPath) !== path) continue;
      const which = copies === 1 ? `model ${firstId}` : `models ${firstId}-${firstId + copies - 1}`;
      return invalid(`${path} is loaded as ${which}: unload them first`);
    }
    if (!this.#isUnderWay(path) && !busy.some((range) => uploadOf(range.path) === path)) {
      return null;
    }
    return {
      status: RequestStatus.unavailable,
      message: `${path} is being uploaded, loaded or unloaded: try again when that has ended`,
    };
  }

  /** Has workers remove an upload, and those that come later. `done` is called once. */
  remove(path: string, peers: readonly WorkerPeer[], done: (answer: Removed) => void): void {
    this.#note(path);
    let workers = 0;
    const problems: string[] = [];
    let waiting = peers.length;
    const end = () => done({ no_of_workers: workers, message: problems.join("; ") });
    if (waiting === 0) return end();
    for (const peer of peers) {
      this.#send(peer, [path], (removed, problem) => {
        workers += removed;
        if (problem !== "") problems.push(`worker ${peer.id}: ${problem}`);
        if (--waiting === 0) end();
      });
    }
  }

  /** Has a worker that has come remove what was removed meanwhile. */
  tell(peer: WorkerPeer): void {
    const paths = [...this.#removed].filter((path) => !this.#isUnderWay(path));
    if (paths.length > 0 && !peer.lost) this.#send(peer, paths, () => {});
  }

  #note(path: string): void {
    this.#removed.delete(path);
    this.#removed.add(path);
    for (const oldest of this.#removed) {
      if (this.#removed.size <= MAX_UPLOADS_REMOVED) return;
      this.#removed.delete(oldest);
    }
  }

  #send(
    peer: WorkerPeer,
    paths: readonly string[],
    done: (removed: number, problem: string) => void,
  ): void {
    const header = { model_paths: paths };
    const id = peer.send("RemoveUploads", header, (result) => {
      this.#log(`Worker  --> ${describeResult(result)}`);
      if (result.kind === "RemoveUploadsResult") {
        done(result.header.no_of_uploads, result.header.message);
      } else {
        done(0, result.kind === "ErrorResult" ? result.header.message : result.kind);
      }
    });
    const action = { kind: "RemoveUploads", id, header } as const;
    this.#log(`Worker <--  ${describeAction(action, this.#clock.now())}`);
  }
}
