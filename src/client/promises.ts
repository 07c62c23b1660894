import { RequestStatus } from "../core/status.ts";
import type { ClusterState } from "../wire/cluster_state.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Client } from "./client.ts";
import { type InferOptions, type Model, NO_INPUT } from "./model.ts";
import { type Done, RequestError } from "./result.ts";
import {
  readerOf,
  sendUpload,
  type StoredUpload,
  type Uploaded,
  type UploadOptions,
  type UploadRemoved,
  type UploadSource,
} from "./upload.ts";

/**
 * A {@link Client} with promises. A request that fails rejects with a {@link RequestError}, which has the
 * controller's status and message. Any number of requests may be in progress at a time, up to the client's
 * limit.
 *
 * @example
 * ```ts
 * const [model] = await clockwork.loadModel("resnet50_v2");
 * await clockwork.ready();
 * const output = await clockwork.infer(model, input, { deadlineNs: 100 * MS });
 * ```
 */
export class ClockworkClient {
  /** The same client with callbacks, without a promise per request. */
  readonly callbacks: Client;
  readonly #onClosed: () => void;
  /** Functions that reject the promises that have not settled. */
  readonly #waiting = new Set<() => void>();
  #closed: Promise<void> | null = null;

  /** `onClosed` is called when the connection has ended after `close`. */
  constructor(client: Client, onClosed: () => void = () => {}) {
    this.callbacks = client;
    this.#onClosed = onClosed;
  }

  /** Resolves when the controller serves the loaded models; until then it refuses inferences. */
  async ready(): Promise<void> {
    await this.ls();
  }

  /**
   * Loads copies of a model; waits while the controller is starting up. `path` is a name or a path in the
   * workers' model directories, or that of an upload. `workers` are the numbers or addresses of those that
   * should have it; by default all.
   */
  loadModel(
    path: string,
    copies = 1,
    workers: readonly string[] = [],
  ): Promise<readonly Model[]> {
    return this.#settled(
      `loading ${path}`,
      (done) => this.callbacks.loadModel(path, copies, done, workers),
    );
  }

  /**
   * Sends a model's files to the workers, which keep them; resolves to the path by which to load it. See
   * {@link modelFiles} for the files of a model on this machine.
   */
  uploadModel(
    name: string,
    files: readonly UploadSource[],
    options: UploadOptions = {},
  ): Promise<Uploaded> {
    return this.#settled(
      `uploading ${name}`,
      (done) => sendUpload(this.callbacks, name, files, readerOf(files), options, done),
    );
  }

  /** Lists the uploads that connected workers have. */
  listUploads(): Promise<readonly StoredUpload[]> {
    return this.#settled("listing uploads", (done) => this.callbacks.listUploads(done));
  }

  /**
   * Removes an upload from all workers, including absent ones when they come back. Refused while copies of
   * it are loaded. Removing it twice is not an error.
   */
  removeUpload(path: string): Promise<UploadRemoved> {
    return this.#settled(
      `removing ${path}`,
      (done) => this.callbacks.removeUpload(path, done),
    );
  }

  /**
   * Runs one inference. `input` has `model.inputBytes` bytes, the model's inputs one after the other, and
   * must not be changed before the answer; with null, the worker makes one up. Resolves to the outputs, one
   * after the other.
   */
  infer(model: Model, input: Uint8Array | null, options: InferOptions = {}): Promise<Uint8Array> {
    const pieces = input === null ? NO_INPUT : [input];
    return this.#settled(
      `inference on ${model.path}`,
      (done) => this.callbacks.infer(model, pieces, options, done),
    );
  }

  /** Asks for the model's weights to be removed from the GPUs, which controllers refuse. */
  evict(model: Model): Promise<void> {
    return this.#settled(`evicting ${model.path}`, (done) => this.callbacks.evict(model, done));
  }

  /**
   * Unloads a copy of a model. New requests for it are refused; resolves when waiting ones have been served
   * and the workers have removed the copy.
   */
  unloadModel(model: Model): Promise<void> {
    return this.#settled(
      `unloading ${model.path}`,
      (done) => this.callbacks.unloadModel(model, done),
    );
  }

  /** The same for copies with consecutive ids, whoever loaded them. */
  unloadModels(firstId: number, copies: number): Promise<void> {
    const what = copies === 1 ? `model ${firstId}` : `models ${firstId}-${firstId + copies - 1}`;
    return this.#settled(
      `unloading ${what}`,
      (done) => this.callbacks.unloadModels(firstId, copies, done),
    );
  }

  /** Describes the loaded models, also while the controller is starting up. */
  async describeModels(): Promise<Catalogue> {
    const catalogue = await this.#settled<Catalogue | null>(
      "describing models",
      (done) => this.callbacks.describeModels(null, done),
    );
    // It is null only if the request has the revision of an earlier answer.
    return catalogue!;
  }

  /** Lists the loaded models, once the controller has started up. */
  ls(): Promise<readonly Model[]> {
    return this.#settled("listing models", (done) => this.callbacks.ls(done));
  }

  /** The cluster's state and recent events: see {@link Client.clusterState}. */
  clusterState(cursor = 0): Promise<ClusterState> {
    return this.#settled(
      "asking for the state",
      (done) => this.callbacks.clusterState(cursor, done),
    );
  }

  /** Rejects unanswered requests, and resolves when the connection has ended. */
  close(): Promise<void> {
    return this.#closed ??= new Promise((resolve) =>
      this.callbacks.close(() => {
        this.#onClosed();
        // For example an upload that is reading its file: a refusal needs the clock, which may have ended.
        for (const giveUp of this.#waiting) giveUp();
        resolve();
      })
    );
  }

  #settled<T>(what: string, ask: (done: Done<T>) => void): Promise<T> {
    const closed = () => {
      const message = this.callbacks.closedBecause!;
      const status = RequestStatus.error;
      return new RequestError(what, { ok: false, from: "client", status, message, latencyNs: 0 });
    };
    // Not by asking: the clock by which a refusal comes may have been closed with the client.
    if (this.callbacks.closedBecause !== null) return Promise.reject(closed());
    return new Promise((resolve, reject) => {
      const giveUp = () => reject(closed());
      this.#waiting.add(giveUp);
      ask((result) => {
        this.#waiting.delete(giveUp);
        if (result.ok) resolve(result.value);
        else reject(new RequestError(what, result));
      });
    });
  }
}
