/** A client's unanswered requests: what each sends, and its callback. */
import type { Timer } from "../core/clock.ts";
import type { Link } from "../wire/link.ts";
import { type AnyMessage, checkHeader, type Header, type Kind } from "../wire/messages.ts";
import { HeaderError } from "../wire/schema.ts";
import type { InferOptions, Model } from "./model.ts";
import type { Done, Failure } from "./result.ts";

export abstract class Pending {
  id = -1;
  /** Whether it has ever been sent: then nobody knows whether it was executed, until it is answered. */
  sent = false;
  /** Whether the present connection has it. */
  underWay = false;
  /** Number of connections that were lost while it was under way. */
  losses = 0;
  /** Ends its waiting for a connection, or for its next try; null while it waits for neither. */
  timer: Timer | null = null;
  readonly startNs: number;
  /** The kind of a successful answer. */
  abstract readonly expects: Kind;
  /** The model that it is for, which must be found again after a loss; null where it is for none. */
  abstract readonly model: Model | null;
  /** Whether it waits, after a loss, until all models have been found again or are gone. */
  abstract readonly afterCheck: boolean;
  /**
   * Until when it may wait for a connection and be sent again, in the client's clock: its deadline, or
   * Infinity. -Infinity for one that must not wait, as only the controller knows its deadline.
   */
  abstract readonly waitsUntilNs: number;
  /** After this many losses it settles instead of waiting again. */
  abstract readonly maxLosses: number;
  /** Whether it is tried again while the controller initializes. */
  abstract readonly retried: boolean;

  constructor(startNs: number) {
    this.startNs = startNs;
  }

  /**
   * What is wrong with its header; null if nothing. A header that breaks the protocol would end this
   * connection, and every later one on which it is sent again.
   */
  abstract problem(): string | null;
  abstract send(link: Link, nowNs: number): void;
  /** Exactly one of these three is called, once. */
  abstract accept(answer: AnyMessage, nowNs: number): void;
  abstract fail(failure: Failure): void;
  /** Its model is gone. */
  onGone(failure: Failure): void {
    this.fail(failure);
  }
}

function headerProblem(kind: Kind, header: unknown): string | null {
  try {
    checkHeader(kind, header);
    return null;
  } catch (error) {
    if (error instanceof HeaderError) return error.message;
    throw error;
  }
}

const NOTHING = {};

export class PendingInfer extends Pending {
  readonly expects = "InferResponse";
  readonly afterCheck = false;
  /** Sent at most twice: an input larger than the controller accepts ends each connection it is sent on. */
  readonly maxLosses = 2;
  readonly retried = false;
  readonly waitsUntilNs: number;
  readonly #deadlineNs: number;

  constructor(
    startNs: number,
    readonly model: Model,
    readonly input: readonly Uint8Array[],
    readonly options: InferOptions,
    readonly userId: number,
    readonly done: Done<Uint8Array>,
  ) {
    super(startNs);
    const { deadlineNs = 0, sloFactor = 0 } = options;
    this.#deadlineNs = deadlineNs;
    this.waitsUntilNs = deadlineNs > 0 && sloFactor === 0 ? startNs + deadlineNs : -Infinity;
  }

  problem(): string | null {
    return headerProblem("InferRequest", this.#header(this.#deadlineNs));
  }

  send(link: Link, nowNs: number): void {
    // The controller counts from when it has the request, and its answer must come back: what is left of
    // the time that was allowed. 0 stands for the controller's default.
    const leftNs = this.#deadlineNs - (nowNs - this.startNs) - link.sync.rttNs;
    const deadlineNs = this.#deadlineNs > 0 ? Math.max(1, leftNs) : 0;
    link.send("InferRequest", this.id, this.#header(deadlineNs), this.input);
  }

  #header(deadlineNs: number): Header<"InferRequest"> {
    const { sloFactor = 0, trace } = this.options;
    return {
      user_id: this.userId,
      model_id: this.model.id,
      batch_size: 1,
      deadline_ns: deadlineNs,
      slo_factor: sloFactor,
      ...(trace === undefined ? NOTHING : { trace }),
    };
  }

  accept({ payload }: AnyMessage, nowNs: number): void {
    this.done({ ok: true, value: payload, latencyNs: nowNs - this.startNs });
  }

  fail(failure: Failure): void {
    this.done(failure);
  }
}

/** What is asked of the controller itself; its answer has no payload, and as a rule it has none either. */
export interface Question<K extends Kind, R extends Kind, T> {
  readonly kind: K;
  /** Made anew for each time that it is sent: a model may have another id by then. */
  readonly header: () => Header<K>;
  readonly payload?: readonly Uint8Array[];
  readonly expects: R;
  readonly read: (answer: Header<R>) => T;
  /** The model that it is for, if it is for one. */
  readonly model?: Model;
  /** Whether it waits, after a loss, until all models have been found again or are gone. */
  readonly afterCheck?: boolean;
  /** What it comes to when its model is gone; left out, it fails. */
  readonly whenGone?: () => T;
  /** Whether it does not outlive the connection: then it is not sent again. */
  readonly brief?: boolean;
}

export class PendingQuestion<K extends Kind, R extends Kind, T> extends Pending {
  readonly maxLosses = Infinity;
  readonly retried: boolean;
  readonly waitsUntilNs: number;

  constructor(
    startNs: number,
    readonly question: Question<K, R, T>,
    readonly done: Done<T>,
  ) {
    super(startNs);
    this.retried = question.brief !== true;
    this.waitsUntilNs = question.brief === true ? -Infinity : Infinity;
  }

  get expects(): Kind {
    return this.question.expects;
  }

  get model(): Model | null {
    return this.question.model ?? null;
  }

  get afterCheck(): boolean {
    return this.question.afterCheck === true;
  }

  problem(): string | null {
    return headerProblem(this.question.kind, this.question.header());
  }

  send(link: Link): void {
    const { kind, header, payload = [] } = this.question;
    link.send(kind, this.id, header(), payload);
  }

  accept({ header }: AnyMessage, nowNs: number): void {
    const value = this.question.read(header as Header<R>);
    this.done({ ok: true, value, latencyNs: nowNs - this.startNs });
  }

  fail(failure: Failure): void {
    this.done(failure);
  }

  override onGone(failure: Failure): void {
    const { whenGone } = this.question;
    if (whenGone === undefined) return this.fail(failure);
    this.done({ ok: true, value: whenGone(), latencyNs: failure.latencyNs });
  }
}
