/**
 * The client of a controller, in callback form: it runs over any Link and on any Clock, so that the
 * simulator runs the very same code. `ClockworkClient` in promises.ts is the face for programs that await.
 *
 * Every request settles exactly once: by its answer, or when the connection is lost or closed. Nothing
 * here has a timer per request; the controller answers each at its deadline at the latest.
 */
import { type Clock, MS, SECOND, type Timer } from "../core/clock.ts";
import { RequestStatus } from "../core/status.ts";
import type { Link, LinkHandler } from "../wire/link.ts";
import type { ClusterState } from "../wire/cluster_state.ts";
import type { AnyMessage, Header, Kind } from "../wire/messages.ts";
import { type Catalogue, catalogueReader } from "./catalogue.ts";
import type { TlsIdentity } from "../wire/tls.ts";
import type { Done, Failure, Result } from "./result.ts";

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
  /** Called once when the connection is lost, after all requests have settled. */
  readonly onLost?: (reason: string) => void;
}

/** A loaded copy of a model, as the controller knows it. */
export interface Model {
  readonly id: number;
  readonly path: string;
  /** Bytes of one request's input: its tensors concatenated in the order the model declares. */
  readonly inputBytes: number;
  readonly outputBytes: number;
}

export interface InferOptions {
  /** Time allowed from now in nanoseconds; left out, the controller's default. */
  readonly deadlineNs?: number;
  /** Allowed time as a multiple of the model's batch-1 execution time; wins over `deadlineNs`. */
  readonly sloFactor?: number;
}

/** No payload: the controller or the worker makes the input. */
export const NO_INPUT: readonly Uint8Array[] = [];

interface Pending {
  /** The kind of a successful answer. */
  readonly expects: Kind;
  readonly startNs: number;
  /** Exactly one of these two is called, once. */
  readonly accept: (answer: AnyMessage, latencyNs: number) => void;
  readonly fail: (failure: Failure) => void;
  /** Sends it once more; null for a request that is not retried while the controller initializes. */
  readonly resend: (() => void) | null;
}

export class Client implements LinkHandler {
  readonly #link: Link;
  readonly #clock: Clock;
  readonly #options: ClientOptions;
  readonly #userId: number;
  readonly #maxOutstanding: number;
  readonly #maxQueuedBytes: number;
  readonly #retryNs: number;
  readonly #pending = new Map<number, Pending>();
  /** Requests between two tries. */
  readonly #retries = new Map<Pending, Timer>();
  #nextId = 0;
  #closedBecause: string | null = null;
  #strayAnswers = 0;
  #linkEnded = false;
  #onLinkEnd: (() => void) | undefined;

  constructor(link: Link, clock: Clock, options: ClientOptions = {}) {
    this.#link = link;
    this.#clock = clock;
    this.#options = options;
    this.#userId = options.userId ?? 0;
    this.#maxOutstanding = options.maxOutstanding ?? DEFAULT_MAX_OUTSTANDING;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? DEFAULT_MAX_QUEUED_BYTES;
    this.#retryNs = options.retryNs ?? RETRY_NS;
  }

  get peer(): string {
    return this.#link.peer;
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
    return this.#link.queuedBytes;
  }

  /** Answers that no request was waiting for; they are ignored. */
  get strayAnswers(): number {
    return this.#strayAnswers;
  }

  /** Why no further request can be made; null while the connection stands. */
  get closedBecause(): string | null {
    return this.#closedBecause;
  }

  /**
   * Asks for one inference. `input` holds `model.inputBytes` bytes in any number of pieces, which
   * must not be changed until the request has settled, or is {@link NO_INPUT}. The output is the
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
    if (bytes !== 0 && bytes !== model.inputBytes) {
      this.#refuse(
        `the input has ${bytes} bytes, but ${model.path} takes ${model.inputBytes} per request`,
        RequestStatus.invalidRequest,
        done,
      );
      return;
    }
    const id = this.#admit({
      expects: "InferResponse",
      startNs: this.#clock.now(),
      accept: (answer, latencyNs) => done({ ok: true, value: answer.payload, latencyNs }),
      fail: done,
      resend: null,
    }, done);
    if (id < 0) return;
    this.#link.send(
      "InferRequest",
      id,
      {
        user_id: this.#userId,
        model_id: model.id,
        batch_size: 1,
        deadline_ns: options.deadlineNs ?? 0,
        slo_factor: options.sloFactor ?? 0,
      },
      input,
    );
  }

  /** Loads `copies` copies of the model at `path`, retrying while the controller is initializing. */
  loadModel(path: string, copies: number, done: Done<readonly Model[]>): void {
    const header = { user_id: this.#userId, model_path: path, no_of_copies: copies };
    this.#ask("LoadModelRequest", header, "LoadModelResponse", (answer) => {
      const { model_id, copies_created, input_size, output_size } = answer;
      return Array.from({ length: copies_created }, (_, copy) => ({
        id: model_id + copy,
        path,
        inputBytes: input_size,
        outputBytes: output_size,
      }));
    }, done);
  }

  /** Lists the loaded models. It settles once the controller is initialized, so it also awaits that. */
  ls(done: Done<readonly Model[]>): void {
    this.#ask(
      "LsRequest",
      { user_id: this.#userId },
      "LsResponse",
      (answer) =>
        answer.models.map((model) => ({
          id: model.model_id,
          path: model.model_path,
          inputBytes: model.input_size,
          outputBytes: model.output_size,
        })),
      done,
    );
  }

  /**
   * Describes the loaded models, and what the controller is doing; it is answered while the controller
   * initializes too. Settles with null when `revision`, of an earlier answer, is still the present one.
   */
  describeModels(revision: number | null, done: Done<Catalogue | null>): void {
    const reader = catalogueReader(revision);
    const askFrom = (modelId: number): void =>
      this.#ask(
        "DescribeModelsRequest",
        { user_id: this.#userId, model_id: modelId, revision: reader.knownRevision },
        "DescribeModelsResponse",
        (answer) => answer,
        (result) => {
          if (!result.ok) return done(result);
          const { value: answer, latencyNs } = result;
          if (reader.take(answer)) askFrom(answer.next_model_id);
          else done({ ok: true, value: reader.catalogue, latencyNs });
        },
      );
    askFrom(0);
  }

  /**
   * Tells what the cluster is doing, and what it has done since an earlier answer, whose `cursor` is
   * given; 0 for all that is known. To be asked every second or so: what few ask for is not kept for long.
   */
  clusterState(cursor: number, done: Done<ClusterState>): void {
    this.#ask("ClusterStateRequest", { cursor }, "ClusterStateResponse", (state) => state, done);
  }

  /** Asks to take a model's weights off the GPUs. */
  evict(model: Model, done: Done<void>): void {
    const header = { user_id: this.#userId, model_id: model.id };
    this.#ask("EvictRequest", header, "EvictResponse", () => undefined, done);
  }

  /**
   * Unloads a copy of a model: requests for it are refused from then on, those that wait are served,
   * and when it settles the workers have forgotten the copy.
   */
  unloadModel(model: Model, done: Done<void>): void {
    const header = { user_id: this.#userId, model_id: model.id, no_of_copies: 1 };
    this.#ask("UnloadModelRequest", header, "UnloadModelResponse", () => undefined, done);
  }

  /**
   * Ends the connection. Requests that wait settle with an error that says so. `done` is called when
   * the link has ended; what was queued has been sent then.
   */
  close(done?: () => void): void {
    if (done !== undefined) {
      if (this.#linkEnded) this.#clock.at(this.#clock.now(), done);
      else this.#onLinkEnd = done;
    }
    if (this.#closedBecause !== null) return;
    this.#settleAll("the client was closed");
    this.#link.close("client is done");
  }

  onMessage(message: AnyMessage): void {
    const pending = this.#pending.get(message.id);
    if (pending !== undefined && message.kind === pending.expects) {
      this.#pending.delete(message.id);
      pending.accept(message, this.#clock.now() - pending.startNs);
    } else if (!message.kind.endsWith("Response")) {
      return;
    } else if (pending === undefined) {
      // A second answer, or one to a request of which we know nothing: not a reason to hang up.
      this.#strayAnswers++;
    } else {
      this.#pending.delete(message.id);
      this.#onFailure(pending, message);
    }
  }

  onClose(reason: string): void {
    this.#linkEnded = true;
    if (this.#closedBecause === null) {
      this.#settleAll(`the connection to ${this.#link.peer} was lost: ${reason}`);
      this.#options.onLost?.(reason);
    }
    this.#onLinkEnd?.();
    this.#onLinkEnd = undefined;
  }

  #onFailure(pending: Pending, message: AnyMessage): void {
    const latencyNs = this.#clock.now() - pending.startNs;
    const answer = message.kind === "ErrorResponse" ? message.header : {
      status: RequestStatus.error,
      message: `the controller answered with ${message.kind}, expected ${pending.expects}`,
    };
    if (
      answer.status === RequestStatus.initializing && pending.resend !== null &&
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

  #ask<K extends Kind, R extends Kind, T>(
    kind: K,
    header: Header<K>,
    expects: R,
    read: (answer: Header<R>) => T,
    done: Done<T>,
  ): void {
    const pending: Pending = {
      expects,
      startNs: this.#clock.now(),
      accept: (answer, latencyNs) =>
        done({ ok: true, value: read(answer.header as Header<R>), latencyNs }),
      fail: done,
      resend: () => {
        const id = this.#admit(pending, done);
        if (id >= 0) this.#link.send(kind, id, header);
      },
    };
    pending.resend!();
  }

  /** Takes note of a request and returns its id, or refuses it and returns -1. */
  #admit<T>(pending: Pending, done: Done<T>): number {
    if (this.#closedBecause !== null) {
      this.#refuse(this.#closedBecause, RequestStatus.error, done);
      return -1;
    }
    if (this.outstanding >= this.#maxOutstanding) {
      this.#refuse(
        `${this.#maxOutstanding} requests are waiting for answers already, the most this client allows`,
        RequestStatus.error,
        done,
      );
      return -1;
    }
    if (this.#link.queuedBytes > this.#maxQueuedBytes) {
      const waiting = `${this.#link.queuedBytes} bytes are waiting to be sent already`;
      this.#refuse(`${waiting}: requests come faster than the network`, RequestStatus.error, done);
      return -1;
    }
    // Ids repeat after 2^32 requests; one that has waited that long keeps its id.
    while (this.#pending.has(this.#nextId)) this.#nextId = (this.#nextId + 1) % (MAX_ID + 1);
    const id = this.#nextId;
    this.#nextId = (id + 1) % (MAX_ID + 1);
    this.#pending.set(id, pending);
    return id;
  }

  #refuse<T>(message: string, status: RequestStatus, done: Done<T>): void {
    const result: Result<T> = { ok: false, from: "client", status, message, latencyNs: 0 };
    // Later, because a caller that asks again from `done` would otherwise never return.
    this.#clock.at(this.#clock.now(), () => done(result));
  }

  #retryLater(pending: Pending): void {
    const timer = this.#clock.at(this.#clock.now() + this.#retryNs, () => {
      this.#retries.delete(pending);
      pending.resend!();
    });
    this.#retries.set(pending, timer);
  }

  #settleAll(message: string): void {
    this.#closedBecause = message;
    const lost = [...this.#pending.values(), ...this.#retries.keys()];
    for (const timer of this.#retries.values()) timer.cancel();
    this.#pending.clear();
    this.#retries.clear();
    const nowNs = this.#clock.now();
    for (const { fail, startNs } of lost) {
      const latencyNs = nowNs - startNs;
      fail({ ok: false, from: "client", status: RequestStatus.error, message, latencyNs });
    }
  }
}
