/** A client that uploads models, and loads, serves, unloads and removes each, one after the other. */
import { createHash } from "node:crypto";
import { type Clock, MS, SECOND } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import { RequestStatus } from "../core/status.ts";
import type { Client } from "../client/client.ts";
import { type Model, NO_INPUT } from "../client/model.ts";
import type { Failure } from "../client/result.ts";
import { sendUpload } from "../client/upload.ts";
import { UPLOAD_CHUNK_BYTES, uploadPath } from "../wire/upload.ts";

/** From the end of one model to the next. */
const PAUSE_NS = 150 * MS;
const NAME = "uploaded";
const DEADLINE_NS = 5 * SECOND;
/** Answers to what could not be in time. */
const LATE = new Set<number>([
  RequestStatus.timeout,
  RequestStatus.skipped,
  RequestStatus.couldNotStartInTime,
]);

export interface UploaderHandler {
  /** The upload at a path begins. */
  onUpload(path: string): void;
  /** It has been removed. */
  onRemoved(path: string): void;
  /** A model has been uploaded, loaded, served and unloaded. */
  onRound(): void;
  /** One has not, and why; `late` if it could only not be in time. The next is tried all the same. */
  onFailure(message: string, late: boolean): void;
}

/** What could not be done, in one word, and why. */
type Problem = [step: string, failure: Failure];

export class Uploader {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #handler: UploaderHandler;
  #contents: readonly Uint8Array[] = [];
  #stopped = false;

  constructor(client: Client, clock: Clock, random: Random, handler: UploaderHandler) {
    this.#client = client;
    this.#clock = clock;
    this.#random = random;
    this.#handler = handler;
  }

  /** Begins as soon as the controller serves. */
  start(): void {
    this.#client.ls((listed) => listed.ok ? this.#upload() : this.#fail("begun", listed));
  }

  /** Begins nothing more. What is under way ends. */
  stop(): void {
    this.#stopped = true;
  }

  #upload(): void {
    if (this.#stopped) return;
    // What has been uploaded before, now and then, as workers that have it do not want it again.
    if (this.#contents.length === 0 || this.#random.below(3) > 0) this.#contents = this.#files();
    const contents = this.#contents;
    const files = contents.map((bytes, i) => ({
      name: i === 0 ? "model.json" : `weights${i}`,
      size: bytes.length,
      sha256: createHash("sha256").update(bytes).digest("hex"),
    }));
    const read = (
      file: number,
      offset: number,
      length: number,
      done: (bytes: Uint8Array, problem: string) => void,
    ) => done(contents[file]!.slice(offset, offset + length), "");
    this.#handler.onUpload(uploadPath(NAME, files));
    sendUpload(this.#client, NAME, files, read, {}, (uploaded) => {
      if (!uploaded.ok) return this.#fail("uploaded", uploaded);
      this.#load(uploaded.value.path);
    });
  }

  #load(path: string): void {
    this.#client.loadModel(path, 1 + this.#random.below(3), (loaded) => {
      if (!loaded.ok) return this.#fail("loaded", loaded);
      let left = loaded.value.length;
      let first: Problem | null = null;
      for (const model of loaded.value) {
        this.#use(model, (problem) => {
          first ??= problem;
          if (--left > 0) return;
          if (first !== null) return this.#fail(...first);
          this.#handler.onRound();
          if (this.#random.below(2) === 0) this.#remove(path);
          else this.#later();
        });
      }
    });
  }

  /** Has a copy run, takes its weights off the GPUs now and then, and unloads it. */
  #use(model: Model, done: (problem: Problem | null) => void): void {
    this.#client.infer(model, NO_INPUT, { deadlineNs: DEADLINE_NS }, (answer) => {
      const unload = () =>
        this.#client.unloadModel(model, (unloaded) => {
          if (!answer.ok) done(["served", answer]);
          else done(unloaded.ok ? null : ["unloaded", unloaded]);
        });
      if (this.#random.below(2) === 0) this.#client.evict(model, unload);
      else unload();
    });
  }

  #remove(path: string): void {
    this.#client.removeUpload(path, (removed) => {
      if (removed.ok) this.#handler.onRemoved(path);
      // A client that has crashed may have left a copy.
      else if (removed.status !== RequestStatus.invalidRequest) {
        return this.#fail("removed", removed);
      }
      this.#later();
    });
  }

  #fail(...[step, { status, message }]: Problem): void {
    if (!this.#stopped) {
      this.#handler.onFailure(`an upload could not be ${step}: ${message}`, LATE.has(status));
    }
    this.#later();
  }

  #later(): void {
    if (this.#stopped) return;
    this.#clock.at(this.#clock.now() + PAUSE_NS, () => this.start());
  }

  /** One to three files, of up to three pieces each. */
  #files(): Uint8Array[] {
    return Array.from({ length: 1 + this.#random.below(3) }, () => {
      const words = new Uint32Array(1 + this.#random.below(3 * UPLOAD_CHUNK_BYTES / 4));
      // Enough to tell one file from another, and its pieces.
      const first = this.#random.below(2 ** 32);
      for (let i = 0; i < words.length; i++) words[i] = first + i;
      return new Uint8Array(words.buffer);
    });
  }
}
