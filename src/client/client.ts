/**
 * The client of a controller, in callback form: it runs over any Link and on any Clock, so that the
 * simulator runs the very same code. `ClockworkClient` in promises.ts is the face for programs that await.
 *
 * Every request settles exactly once: by its answer, or as undecided when it was sent and its connection
 * was lost, or as never sent. While connected, no request has a timer: the controller answers each at its
 * deadline at the latest. A client that knows how to connect again does, and sends again what waits:
 * inference changes nothing, loads have keys, and a request keeps its id, so that of two answers to it the
 * second is recognised.
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

/** Requests that may wait for their answers at a time, unless the options say otherwise. */
export const DEFAULT_MAX_OUTSTANDING = 65_536;
const DEFAULT_MAX_QUEUED_BYTES = 256 * 2 ** 20;
const RETRY_NS = 500 * MS;
/** Loading thousands of models takes minutes; a controller that never gets ready is broken. */
const INITIALIZING_LIMIT_NS = 3600 * SECOND;
const MAX_ID = 0xffff_ffff;

export interface ClientOptions {
  /** Tells the controller's logs whose requests these are; 0 by default. */
  readonly userId?: number;
  readonly maxOutstanding?: number;
  /** The token that the controller asks for, if it does. */
  readonly token?: string;
  /** Speaks TLS: certificates of the client, and of whom it believes. */
  readonly tls?: TlsIdentity;
  /** No request is sent while this many bytes wait for the network; 256 MiB by default. */
  readonly maxQueuedBytes?: number;
  /** Pause between two tries while the controller is initializing, in nanoseconds. */
  readonly retryNs?: number;
  /** Called for each such try with the controller's message. */
  readonly onRetry?: (message: string) => void;
  /** How to connect again when the connection is lost; left out, everything settles then. */
  readonly reconnect?: ReconnectOptions;
  /** Called when the connection is lost and is being made again. */
  readonly onReconnecting?: (reason: string) => void;
  /** Called when it has been made again, with how long there was none. */
  readonly onReconnected?: (afterNs: number) => void;
  /** Called once when the connection is lost for good, after all requests have settled. */
  readonly onLost?: (reason: string) => void;
}

export class Client implements LinkHandler {
  /** Null while there is none. */
  #link: Link | null;
  #peer: string;
  readonly #clock: Clock;
  readonly #options: ClientOptions;
  readonly #userId: number;
  readonly #maxOutstanding: number;
  readonly #maxQueuedBytes: number;
  readonly #retryNs: number;
  /** By id, in the order in which they were asked. */
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

  /** Requests that may wait for their answers at a time; further ones are refused. */
  get maxOutstanding(): number {
    return this.#maxOutstanding;
  }

  /** Bytes that wait for the network. */
  get queuedBytes(): number {
    return this.#link?.queuedBytes ?? 0;
  }

  /** Answers that no request was waiting for, second answers among them; they are ignored. */
  get strayAnswers(): number {
    return this.#strayAnswers;
  }

  /** How often the connection was lost and made again. */
  get reconnects(): number {
    return this.#reconnects;
  }

  /** Why no further request can be made; null while it can. */
  get closedBecause(): string | null {
    return this.#closedBecause;
  }

  /**
   * Asks for one inference. `input` holds `model.inputBytes` bytes in any number of pieces, which
   * must not be changed until the request has settled, or is `NO_INPUT`. The output is the
   * caller's, who may give its memory back with `payloads.release` when nothing reads it any more.
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

  /** Lists the loaded models. It settles once the controller is initialized, so it also awaits that. */
  ls(done: Done<readonly Model[]>): void {
    const read = ({ models }: Header<"LsResponse">) => this.#models.listed(models);
    this.#ask({ ...listing(this.#userId), read, afterCheck: true }, done);
  }

  /**
   * Describes the loaded models, and what the controller is doing; it is answered while the controller
   * initializes too. Settles with null when `revision`, of an earlier answer, is still the present one.
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
   * Tells what the cluster is doing, and what it has done since an earlier answer, whose `cursor` is
   * given; 0 for all that is known. To be asked every second or so: what few ask for is not kept for long.
   */
  clusterState(cursor: number, done: Done<ClusterState>): void {
    // Another controller counts anew.
    const known = this.#told.state === this.#reconnects ? cursor : 0;
    this.#ask(watching(known), (result) => {
      if (result.ok) this.#told.state = this.#reconnects;
      done(result);
    });
  }

  /** Announces a model's files. What follows is {@link uploadChunk}, unless all workers have them. */
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
   * Sends a piece of a file, the next one of the first that is not complete; at most `UPLOAD_WINDOW` may
   * wait for their answers. `bytes` must not be changed before.
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

  /** Has the workers keep an upload, or forget it. */
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

  /** Asks to take a model's weights off the GPUs. */
  evict(model: Model, done: Done<void>): void {
    this.#ask(evicting(this.#userId, model), done);
  }

  /**
   * Unloads a copy of a model: requests for it are refused from then on, those that wait are served,
   * and when it settles the workers have forgotten the copy.
   */
  unloadModel(model: Model, done: Done<void>): void {
    this.#models.leaving(model);
    const question = unloading(this.#userId, () => model.id, 1, this.#newKey());
    this.#ask({ ...question, model, whenGone: () => undefined }, (result) => {
      this.#models.left(model, result.ok);
      done(result);
    });
  }

  /** The same for copies with consecutive ids, by whomever they were loaded. */
  unloadModels(firstId: number, copies: number, done: Done<void>): void {
    const question = unloading(this.#userId, () => firstId, copies, "");
    this.#ask({ ...question, brief: true }, (result) => {
      if (result.ok) this.#models.unloaded(firstId, copies);
      done(result);
    });
  }

  /**
   * Ends the connection. Requests that wait settle with an error that says so. `done` is called when
   * the link has ended; what was queued has been sent then.
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
      // A second answer, or one to a request of which we know nothing: not a reason to hang up.
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

  /** For a request that must not be carried out twice: only needed where one may be sent again. */
  #newKey(): string {
    const random = this.#options.reconnect?.random;
    return random === undefined ? "" : newKey(random);
  }

  /** Sends a request, lets it wait for a connection, or refuses it. */
  #submit<T>(pending: Pending, nowNs: number, done: Done<T>): void {
    const refusal = this.#refusal();
    if (refusal !== null) return this.#refuse(refusal, RequestStatus.error, done);
    const problem = pending.problem();
    if (problem !== null) return this.#refuse(problem, RequestStatus.invalidRequest, done);
    const standing = this.#standing(pending);
    if (standing === "gone") {
      return this.#refuse(this.#models.whyGone(pending.model!), RequestStatus.invalidRequest, done);
    }
    if (standing === "unknown" && pending.waitsUntilNs === -Infinity) {
      return this.#refuse(`never sent: ${this.#lostBecause}`, RequestStatus.unavailable, done);
    }
    this.#note(pending);
    if (standing === "current") this.#send(pending, nowNs);
    else this.#expireInTime(pending);
  }

  /** Why no request can be taken; null if one can. */
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

  /** Whether a request can be sent now, cannot yet, or never can as its model is gone. */
  #standing({ model, afterCheck }: Pending): "current" | "unknown" | "gone" {
    if (this.#link === null) return "unknown";
    if (model !== null) return this.#models.standing(model);
    return afterCheck && !this.#models.checked ? "unknown" : "current";
  }

  /** Gives a request its id, and waits for its answer. */
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
    // Later, because a caller that asks again from `done` would otherwise never return.
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

  /** Settles a request that gets no answer any more. */
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

  // Losing the connection, and making it again.

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
    // Not over a copy: who hears of a failure may close the client, and all have settled then.
    for (const pending of this.#pending.values()) {
      pending.underWay = false;
      if (pending.waitsUntilNs > this.#lostNs) this.#expireInTime(pending);
      else this.#settle(pending, this.#lostBecause);
    }
  }

  /** Lets a request wait for a connection until its deadline. */
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

  /** Asks something that ends with the connection, whatever the limits for requests. */
  #askBriefly<K extends Kind, R extends Kind, T>(
    question: Question<K, R, T>,
    done: Done<T>,
  ): void {
    const nowNs = this.#clock.now();
    const pending = new PendingQuestion(nowNs, { ...question, brief: true }, done);
    this.#note(pending);
    this.#send(pending, nowNs);
  }

  /** Sends what waits and can be sent now. */
  #sendWaiting(): void {
    const nowNs = this.#clock.now();
    // Not over a copy: who hears that its model is gone may close the client.
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
