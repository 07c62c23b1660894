/**
 * The client of a controller, with callbacks. It runs over any Link and on any Clock, so that the simulator
 * runs the same code. `ClockworkClient` in promises.ts is the interface with promises.
 *
 * Every request settles exactly once: with its answer, as undecided if it was sent and the connection was
 * lost, or as never sent. While connected, requests have no timers, since the controller answers each by
 * its deadline. A client that can reconnect does so, and sends waiting requests again: inference has no
 * side effects, loads have keys, and a request keeps its id, so that a second answer to it is recognised.
 */
import { type Clock, MS, SECOND } from "../core/clock.ts";
import { RequestStatus } from "../core/status.ts";
import type { Link, LinkHandler } from "../wire/link.ts";
import type { ClusterState } from "../wire/cluster_state.ts";
import type { AnyMessage, Header, Kind } from "../wire/messages.ts";
import { type UploadFile, uploadProblem } from "../wire/upload.ts";
import type { TlsIdentity } from "../wire/tls.ts";
import { type Catalogue, catalogueReader } from "./catalogue.ts";
import type { ReconnectOptions } from "./dialer.ts";
import { type Load, ModelBook, newKey } from "./model_book.ts";
import type { InferOptions, Model } from "./model.ts";
import { type Pending, PendingInfer, PendingQuestion, type Question } from "./pending.ts";
import {
  beginningUpload,
  describing,
  endingUpload,
  evicting,
  listing,
  listingUploads,
  loading,
  removingUpload,
  unloading,
  uploading,
  watching,
} from "./questions.ts";
import { Redial } from "./redial.ts";
import { type Done, type Result, UNDECIDED } from "./result.ts";
import { Resumption } from "./resumption.ts";
import type { StoredUpload, UploadRemoved } from "./upload.ts";

/** Default for the number of unanswered requests. */
export const DEFAULT_MAX_OUTSTANDING = 65_536;
const DEFAULT_MAX_QUEUED_BYTES = 256 * 2 ** 20;
const RETRY_NS = 500 * MS;
/** Loading thousands of models takes minutes; a controller that is not ready after this time is broken. */
const INITIALIZING_LIMIT_NS = 3600 * SECOND;
const MAX_ID = 0xffff_ffff;

export interface ClientOptions {
  /** The user to whom the requests are attributed; 0 by default. */
  readonly userId?: number;
  readonly maxOutstanding?: number;
  /** The controller's token, if it requires one. */
  readonly token?: string;
  /** Use TLS: the client's certificate and key, and the authorities that it trusts. */
  readonly tls?: TlsIdentity;
  /** No request is sent while this many bytes are waiting for the network; 256 MiB by default. */
  readonly maxQueuedBytes?: number;
  /** Pause between two tries while the controller is initializing, in nanoseconds. */
  readonly retryNs?: number;
  /** Called for each such try with the controller's message. */
  readonly onRetry?: (message: string) => void;
  /** How to reconnect when the connection is lost; without it, everything settles then. */
  readonly reconnect?: ReconnectOptions;
  /** Called when the connection is lost and the client reconnects. */
  readonly onReconnecting?: (reason: string) => void;
  /** Called when the client has reconnected, with the time without a connection. */
  readonly onReconnected?: (afterNs: number) => void;
  /** Called once when the connection is lost for good, after all requests have settled. */
  readonly onLost?: (reason: string) => void;
}

export class Client implements LinkHandler {
  /** Null while there is no connection. */
  #link: Link | null;
  #peer: string;
  readonly #clock: Clock;
  readonly #options: ClientOptions;
  readonly #userId: number;
  readonly #maxOutstanding: number;
  readonly #maxQueuedBytes: number;
  readonly #retryNs: number;
  /** By id, in the order in which they were made. */
  readonly #pending = new Map<number, Pending>();
  /** Requests between two tries. */
  readonly #retries = new Set<Pending>();
  readonly #models = new ModelBook();
  readonly #redial: Redial | null;
  #resumption: Resumption | null = null;
  #nextId = 0;
  #lostNs = 0;
  #lostBecause = "";
  #closedBecause: string | null = null;
  #strayAnswers = 0;
  #reconnects = 0;
  /** How often it had been, when each was last told: what was told before is of another controller. */
  readonly #told = { models: 0, state: 0 };
  #onLinkEnd: (() => void)[] = [];

  constructor(link: Link, clock: Clock, options: ClientOptions = {}) {
    this.#link = link;
    this.#peer = link.peer;
    this.#clock = clock;
    this.#options = options;
    this.#userId = options.userId ?? 0;
    this.#maxOutstanding = options.maxOutstanding ?? DEFAULT_MAX_OUTSTANDING;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? DEFAULT_MAX_QUEUED_BYTES;
    this.#retryNs = options.retryNs ?? RETRY_NS;
    this.#redial = options.reconnect === undefined ? null : new Redial(
      clock,
      options.reconnect,
      (made) => this.#onReconnected(made),
      (reason) => this.#giveUp(reason),
    );
  }

  get peer(): string {
    return this.#peer;
  }

  /** Whether there is a connection now. */
  get connected(): boolean {
    return this.#link !== null && this.#closedBecause === null;
  }

  /** Requests that have not settled. */
  get outstanding(): number {
    return this.#pending.size + this.#retries.size;
  }

  /** Unanswered requests at a time; more are refused. */
  get maxOutstanding(): number {
    return this.#maxOutstanding;
  }

  /** Bytes waiting for the network. */
  get queuedBytes(): number {
    return this.#link?.queuedBytes ?? 0;
  }

  /** Answers that no request was waiting for, including second answers; they are ignored. */
  get strayAnswers(): number {
    return this.#strayAnswers;
  }

  /** How often the client has reconnected. */
  get reconnects(): number {
    return this.#reconnects;
  }

  /** Why no new request can be made; null while it can. */
  get closedBecause(): string | null {
    return this.#closedBecause;
  }

  /**
   * Requests one inference. `input` has `model.inputBytes` bytes in any number of pieces, which must not be
   * changed until the request has settled, or is `NO_INPUT`. The output belongs to the caller, who may
   * return its memory with `payloads.release` when it is no longer needed.
   */
  infer(
    model: Model,
    input: readonly Uint8Array[],
    options: InferOptions,
    done: Done<Uint8Array>,
  ): void {
    let bytes = 0;
    for (let i = 0; i < input.length; i++) bytes += input[i]!.length;
    if (input.length > 0 && bytes !== model.inputBytes) {
      this.#refuse(
        `the input has ${bytes} bytes, but ${model.path} takes ${model.inputBytes} per request`,
        RequestStatus.invalidRequest,
        done,
      );
      return;
    }
    const nowNs = this.#clock.now();
    this.#submit(new PendingInfer(nowNs, model, input, options, this.#userId, done), nowNs, done);
  }

  /**
   * Loads `copies` copies of the model at `path`, retrying while the controller is initializing: on all
   * workers, or on those of `workers`, numbers or addresses.
   */
  loadModel(
    path: string,
    copies: number,
    done: Done<readonly Model[]>,
    workers: readonly string[] = [],
  ): void {
    const load: Load = { key: this.#newKey(), path, copies, workers, handles: [] };
    const read = (answer: Header<"LoadModelResponse">) => this.#models.loaded(load, answer);
    this.#ask({ ...loading(this.#userId, load), read }, done);
  }

  /**
   * Lists the loaded models. It settles once the controller is initialized, and so can be used to wait for
   * that.
   */
  ls(done: Done<readonly Model[]>): void {
    const read = ({ models }: Header<"LsResponse">) => this.#models.listed(models);
    this.#ask({ ...listing(this.#userId), read, afterCheck: true }, done);
  }

  /**
   * Describes the loaded models and the controller's state, also while the controller is initializing.
   * Settles with null if `revision`, of an earlier answer, is still current.
   */
  describeModels(revision: number | null, done: Done<Catalogue | null>): void {
    // Another controller counts anew.
    const reader = catalogueReader(this.#told.models === this.#reconnects ? revision : null);
    const askFrom = (modelId: number): void =>
      this.#ask(describing(this.#userId, modelId, () => reader.knownRevision), (result) => {
        if (!result.ok) return done(result);
        const { value: answer, latencyNs } = result;
        if (reader.take(answer)) return askFrom(answer.next_model_id);
        this.#told.models = this.#reconnects;
        done({ ok: true, value: reader.catalogue, latencyNs });
      });
    askFrom(0);
  }

  /**
   * Reports the cluster's state, and what has happened since the answer with the given `cursor`; 0 for
   * everything. Meant to be called about every second, since data is not kept for long.
   */
  clusterState(cursor: number, done: Done<ClusterState>): void {
    // Another controller counts anew.
    const known = this.#told.state === this.#reconnects ? cursor : 0;
    this.#ask(watching(known), (result) => {
      if (result.ok) this.#told.state = this.#reconnects;
      done(result);
    });
  }

  /** Announces a model's files. Continue with {@link uploadChunk}, unless all workers have them. */
  beginUpload(
    name: string,
    files: readonly UploadFile[],
    workers: readonly string[],
    done: Done<{ readonly id: number; readonly path: string; readonly complete: boolean }>,
  ): void {
    const problem = uploadProblem(name, files);
    if (problem !== null) return this.#refuse(problem, RequestStatus.invalidRequest, done);
    this.#ask(beginningUpload(this.#userId, name, files, workers), done);
  }

  /**
   * Sends the next piece of the first file that is not complete. At most `UPLOAD_WINDOW` pieces may be
   * unanswered. `bytes` must not be changed before its answer.
   */
  uploadChunk(
    uploadId: number,
    file: number,
    offset: number,
    bytes: Uint8Array,
    done: Done<void>,
  ): void {
    this.#ask(uploading(uploadId, file, offset, bytes), done);
  }

  /** Makes the workers keep an upload, or discard it. */
  endUpload(
    uploadId: number,
    keep: boolean,
    done: Done<{ readonly workers: number; readonly problems: string }>,
  ): void {
    this.#ask(endingUpload(uploadId, keep), done);
  }

  /** Lists the uploads that connected workers have. */
  listUploads(done: Done<readonly StoredUpload[]>): void {
    this.#ask(listingUploads(this.#userId), done);
  }

  /** Has all workers remove an upload of which no copies are loaded, those that are away when they come. */
  removeUpload(path: string, done: Done<UploadRemoved>): void {
    this.#ask(removingUpload(this.#userId, path), done);
  }

  /** Asks the controller to remove a model's weights from the GPUs. */
  evict(model: Model, done: Done<void>): void {
    this.#ask(evicting(this.#userId, model), done);
  }

  /**
   * Unloads a copy of a model: new requests for it are refused, and waiting ones are served. When this
   * settles, the workers have removed the copy.
   */
  unloadModel(model: Model, done: Done<void>): void {
    this.#models.leaving(model);
    const question = unloading(this.#userId, () => model.id, 1, this.#newKey());
    this.#ask({ ...question, model, whenGone: () => undefined }, (result) => {
      this.#models.left(model, result.ok);
      done(result);
    });
  }

  /** The same for copies with consecutive ids, whoever loaded them. */
  unloadModels(firstId: number, copies: number, done: Done<void>): void {
    const question = unloading(this.#userId, () => firstId, copies, "");
    this.#ask({ ...question, brief: true }, (result) => {
      if (result.ok) this.#models.unloaded(firstId, copies);
      done(result);
    });
  }

  /**
   * Ends the connection. Unanswered requests settle with an error. `done` is called when the link has
   * ended; everything queued has been sent by then.
   */
  close(done?: () => void): void {
    if (done !== undefined) {
      if (this.#link === null) this.#clock.at(this.#clock.now(), done);
      else this.#onLinkEnd.push(done);
    }
    if (this.#closedBecause !== null) return;
    this.#settleAll("the client was closed");
    this.#link?.close("client is done");
  }

  onMessage(message: AnyMessage): void {
    const pending = this.#pending.get(message.id);
    if (pending !== undefined && message.kind === pending.expects) {
      this.#pending.delete(message.id);
      pending.accept(message, this.#clock.now());
    } else if (pending === undefined) {
      // A second answer, or one to an unknown request: not a reason to disconnect.
      this.#strayAnswers++;
    } else {
      this.#pending.delete(message.id);
      this.#onFailure(pending, message);
    }
  }

  onClose(reason: string): void {
    if (this.#link === null) return;
    this.#link = null;
    if (this.#closedBecause === null) {
      if (this.#redial === null) this.#giveUp(reason);
      else this.#reconnect(this.#redial, reason);
    }
    for (const done of this.#onLinkEnd.splice(0)) done();
  }

  #onFailure(pending: Pending, message: AnyMessage): void {
    const latencyNs = this.#clock.now() - pending.startNs;
    const answer = message.kind === "ErrorResponse" ? message.header : {
      status: RequestStatus.error,
      message: `the controller answered with ${message.kind}, expected ${pending.expects}`,
    };
    if (
      answer.status === RequestStatus.initializing && pending.retried &&
      latencyNs < INITIALIZING_LIMIT_NS
    ) {
      this.#retryLater(pending);
      this.#options.onRetry?.(answer.message);
    } else {
      pending.fail({
        ok: false,
        from: "controller",
        status: answer.status,
        message: answer.message,
        latencyNs,
      });
    }
  }

  // Requests.

  #ask<K extends Kind, R extends Kind, T>(question: Question<K, R, T>, done: Done<T>): void {
    const nowNs = this.#clock.now();
    this.#submit(new PendingQuestion(nowNs, question, done), nowNs, done);
  }

  /** For a request that must not be carried out twice; needed only if it can be sent again. */
  #newKey(): string {
    const random = this.#options.reconnect?.random;
    return random === undefined ? "" : newKey(random);
  }

  /** Sends a request, makes it wait for a connection, or refuses it. */
  #submit<T>(pending: Pending, nowNs: number, done: Done<T>): void {
    const refusal = this.#refusal();
    if (refusal !== null) return this.#refuse(refusal, RequestStatus.error, done);
    const problem = pending.problem();
    if (problem !== null) return this.#refuse(problem, RequestStatus.invalidRequest, done);
    const standing = this.#standing(pending);
    if (standing === "gone") {
      return this.#refuse(this.#models.whyGone(pending.model!), RequestStatus.invalidRequest, done);
    }
    this.#note(pending);
    if (standing === "current") this.#send(pending, nowNs);
    else this.#expireInTime(pending);
  }

  /** Why requests are refused; null if they are accepted. */
  #refusal(): string | null {
    if (this.#closedBecause !== null) return this.#closedBecause;
    if (this.outstanding >= this.#maxOutstanding) {
      return `${this.#maxOutstanding} requests are waiting for answers already, the most this client allows`;
    }
    if (this.queuedBytes > this.#maxQueuedBytes) {
      const waiting = `${this.queuedBytes} bytes are waiting to be sent already`;
      return `${waiting}: requests come faster than the network`;
    }
    return null;
  }

  /** Whether a request can be sent now, later, or never, because its model is gone. */
  #standing({ model, afterCheck }: Pending): "current" | "unknown" | "gone" {
    if (this.#link === null) return "unknown";
    if (model !== null) return this.#models.standing(model);
    return afterCheck && !this.#models.checked ? "unknown" : "current";
  }

  /** Assigns an id to a request, and waits for its answer. */
  #note(pending: Pending): void {
    // Ids repeat after 2^32 requests; one that has waited that long keeps its id.
    while (this.#pending.has(this.#nextId)) this.#nextId = (this.#nextId + 1) % (MAX_ID + 1);
    pending.id = this.#nextId;
    this.#nextId = (pending.id + 1) % (MAX_ID + 1);
    this.#pending.set(pending.id, pending);
  }

  #send(pending: Pending, nowNs: number): void {
    pending.sent = true;
    pending.underWay = true;
    pending.timer?.cancel();
    pending.timer = null;
    pending.send(this.#link!, nowNs);
  }

  #refuse<T>(message: string, status: RequestStatus, done: Done<T>): void {
    const result: Result<T> = { ok: false, from: "client", status, message, latencyNs: 0 };
    // Deferred, because a caller that makes a new request from `done` would otherwise never return.
    this.#clock.at(this.#clock.now(), () => done(result));
  }

  #retryLater(pending: Pending): void {
    pending.underWay = false;
    pending.timer = this.#clock.at(this.#clock.now() + this.#retryNs, () => {
      this.#retries.delete(pending);
      pending.timer = null;
      this.#note(pending);
      this.#sendIfPossible(pending, this.#clock.now());
    });
    this.#retries.add(pending);
  }

  /** Settles a request that will not get an answer. */
  #settle(pending: Pending, why: string): void {
    this.#pending.delete(pending.id);
    pending.timer?.cancel();
    pending.fail({
      ok: false,
      from: "client",
      status: pending.sent ? UNDECIDED : RequestStatus.unavailable,
      message: pending.sent ? why : `never sent: ${why}`,
      latencyNs: this.#clock.now() - pending.startNs,
    });
  }

  #settleAll(why: string): void {
    this.#closedBecause = why;
    this.#redial?.stop();
    this.#resumption?.stop();
    const lost = [...this.#pending.values(), ...this.#retries];
    this.#pending.clear();
    this.#retries.clear();
    for (const pending of lost) this.#settle(pending, why);
  }

  // Loss of the connection, and reconnecting.

  #giveUp(reason: string): void {
    this.#settleAll(`the connection to ${this.#peer} was lost: ${reason}`);
    this.#options.onLost?.(reason);
  }

  #reconnect(redial: Redial, reason: string): void {
    this.#lostNs = this.#clock.now();
    this.#lostBecause = `the connection to ${this.#peer} was lost: ${reason}`;
    this.#resumption?.stop();
    this.#models.lost();
    redial.start(reason);
    this.#options.onReconnecting?.(reason);
    // Not over a copy: a callback may close the client, and then all requests have settled.
    for (const pending of this.#pending.values()) {
      if (pending.underWay) pending.losses++;
      pending.underWay = false;
      const mayWait = pending.waitsUntilNs > this.#lostNs && pending.losses < pending.maxLosses;
      if (mayWait) this.#expireInTime(pending);
      else this.#settle(pending, this.#lostBecause);
    }
  }

  /** Makes a request wait for a connection until its deadline. */
  #expireInTime(pending: Pending): void {
    if (pending.waitsUntilNs === Infinity) return;
    pending.timer ??= this.#clock.at(
      pending.waitsUntilNs,
      () => this.#settle(pending, this.#lostBecause),
    );
  }

  #onReconnected(link: Link): LinkHandler {
    this.#link = link;
    this.#peer = link.peer;
    this.#reconnects++;
    this.#options.onReconnected?.(this.#clock.now() - this.#lostNs);
    const user = this.#userId;
    this.#resumption = new Resumption({
      clock: this.#clock,
      book: this.#models,
      ask: {
        ls: (done) => this.#askBriefly({ ...listing(user), read: ({ models }) => models }, done),
        load: (load, done) =>
          this.#askBriefly({ ...loading(user, load), read: (answer) => answer }, done),
        unload: (id) => this.#askBriefly(unloading(user, () => id, 1, this.#newKey()), () => {}),
      },
      onInitializing: (message) => this.#options.onRetry?.(message),
      onProgress: () => {
        this.#redial?.succeeded();
        this.#sendWaiting();
      },
    });
    this.#sendWaiting();
    return this;
  }

  /** Sends a question that ends with the connection, exempt from the limits for requests. */
  #askBriefly<K extends Kind, R extends Kind, T>(
    question: Question<K, R, T>,
    done: Done<T>,
  ): void {
    const nowNs = this.#clock.now();
    const pending = new PendingQuestion(nowNs, { ...question, brief: true }, done);
    this.#note(pending);
    this.#send(pending, nowNs);
  }

  /** Sends the waiting requests that can be sent now. */
  #sendWaiting(): void {
    const nowNs = this.#clock.now();
    // Not over a copy: a callback, told that its model is gone, may close the client.
    for (const pending of this.#pending.values()) {
      if (!pending.underWay) this.#sendIfPossible(pending, nowNs);
    }
  }

  #sendIfPossible(pending: Pending, nowNs: number): void {
    const standing = this.#standing(pending);
    if (standing === "current") return this.#send(pending, nowNs);
    if (standing === "unknown") return;
    this.#pending.delete(pending.id);
    pending.timer?.cancel();
    pending.onGone({
      ok: false,
      from: "client",
      status: pending.sent ? UNDECIDED : RequestStatus.invalidRequest,
      message: this.#models.whyGone(pending.model!),
      latencyNs: nowNs - pending.startNs,
    });
  }
}
