import { type Clock, MS } from "../core/clock.ts";
import { ActionStatus } from "../core/status.ts";
import {
  ACTION_KINDS,
  type ActionKind,
  type MessageOf,
  type ResultKind,
} from "../wire/describe.ts";
import type { Link, LinkHandler } from "../wire/link.ts";
import type { AnyMessage, Header } from "../wire/messages.ts";

/** Actions with inputs that are being sent to a worker at a time. */
const MAX_TRANSFERS = 2;
/** Payloads smaller than this say nothing about the bandwidth. */
const MEASURABLE_BYTES = 64 * 1024;
/** Weight of the newest measurement of bandwidth. */
const SMOOTHING = 0.1;
/** How long an estimate is trusted by which inputs take this long or longer, while none is being sent. */
const DOUBT_NS = 100 * MS;
const LONG_NS = MS;
/** Assumed until measured: 1 GB/s, and half a millisecond in each direction. */
const INITIAL_NS_PER_BYTE = 1;
const INITIAL_ONE_WAY_NS = 500_000;
const MIN_ONE_WAY_NS = 50_000;

/** A worker's answer, or a substitute if it did not answer. Times are in the worker's clock. */
export type Result = MessageOf<ResultKind>;
export type OnResult = (result: Result) => void;

interface Pending {
  readonly kind: ActionKind;
  readonly onResult: OnResult;
}

interface Transfer {
  readonly id: number;
  readonly header: Header<"Infer">;
  readonly payload: readonly Uint8Array[];
  readonly bytes: number;
  readonly latestNs: number;
}

/** The controller's end of a link to a worker: sends actions, and reports exactly one result for each. */
export class WorkerPeer implements LinkHandler {
  readonly id: number;
  readonly link: Link;
  readonly #clock: Clock;
  readonly #nextActionId: () => number;
  readonly #onLost: (peer: WorkerPeer, reason: string) => void;
  readonly #pending = new Map<number, Pending>();
  /** Sizes of inputs in flight from which the bandwidth is measured, by action. */
  readonly #sizes = new Map<number, { bytes: number; sentNs: number }>();
  readonly #waiting: Transfer[] = [];
  #transfers = 0;
  #nsPerByte = INITIAL_NS_PER_BYTE;
  /** When the bandwidth is next doubted; null if nobody has asked since the last input was sent. */
  #doubtNs: number | null = null;
  #doubted = false;
  #lost = false;

  constructor(
    id: number,
    link: Link,
    clock: Clock,
    nextActionId: () => number,
    onLost: (peer: WorkerPeer, reason: string) => void,
  ) {
    this.id = id;
    this.link = link;
    this.#clock = clock;
    this.#nextActionId = nextActionId;
    this.#onLost = onLost;
  }

  get lost(): boolean {
    return this.#lost;
  }

  /** Actions without a result yet. */
  get outstanding(): number {
    return this.#pending.size;
  }

  /**
   * Sends an action without inputs. `onResult` is called once, later: with the worker's result, or with
   * an ErrorResult when the worker is lost. Returns the action's id.
   */
  send<K extends ActionKind>(
    kind: K,
    header: Header<K>,
    onResult: OnResult,
    payload: readonly Uint8Array[] = [],
  ): number {
    const id = this.#nextActionId();
    this.#pending.set(id, { kind, onResult });
    if (this.#lost) this.#failLater(id, ActionStatus.cancelled, "the worker was lost");
    else this.link.send(kind, id, header, payload);
    return id;
  }

  /**
   * Sends an Infer, its inputs as payload. At most {@link MAX_TRANSFERS} are handed to the network at a
   * time, so that a large input does not delay what is sent after it by more than that; one that
   * could not arrive by `latestNs` any more ends with status 45.
   */
  sendInfer(
    header: Header<"Infer">,
    payload: readonly Uint8Array[],
    onResult: OnResult,
  ): number {
    let bytes = 0;
    for (const input of payload) bytes += input.length;
    if (bytes === 0 || this.#lost) return this.send("Infer", header, onResult);
    const id = this.#nextActionId();
    this.#pending.set(id, { kind: "Infer", onResult });
    this.#waiting.push({ id, header, payload, bytes, latestNs: header.latest_ns });
    this.#sendWaiting();
    return id;
  }

  /** Time for a message with `bytes` of payload to the worker, or one of 0 bytes from it. */
  transferNs(bytes: number): number {
    const { sync } = this.link;
    const oneWayNs = sync.known ? Math.max(MIN_ONE_WAY_NS, sync.rttNs / 2) : INITIAL_ONE_WAY_NS;
    if (bytes * this.#nsPerByte >= LONG_NS) this.#doubt();
    return oneWayNs + bytes * this.#nsPerByte;
  }

  onMessage(message: AnyMessage): void {
    const pending = this.#pending.get(message.id);
    // A result that nobody waits for: a duplicate, or unsolicited. Ignore it.
    if (pending === undefined || !isResult(message)) return;
    this.#pending.delete(message.id);
    this.#measure(message);
    pending.onResult(message);
  }

  onClose(reason: string): void {
    this.#lost = true;
    this.#onLost(this, reason);
    for (const [id, pending] of this.#pending) {
      pending.onResult(
        failure(id, pending, ActionStatus.cancelled, `the worker was lost: ${reason}`),
      );
    }
    this.#pending.clear();
  }

  #sendWaiting(): void {
    while (this.#transfers < MAX_TRANSFERS) {
      const transfer = this.#waiting.shift();
      if (transfer === undefined) return;
      const { id, header, payload, bytes, latestNs } = transfer;
      const nowNs = this.#clock.now();
      if (nowNs + this.transferNs(bytes) > latestNs) {
        this.#failLater(id, ActionStatus.sendTooLate, "its input could not be sent in time");
        continue;
      }
      this.#transfers++;
      if (bytes >= MEASURABLE_BYTES) {
        this.#sizes.set(id, { bytes, sentNs: nowNs });
        this.#doubtNs = null;
      }
      this.link.send("Infer", id, header, payload, () => {
        this.#transfers--;
        this.#sendWaiting();
      });
    }
  }

  /** In a separate call, since `sendInfer` has not returned the id yet. */
  #failLater(id: number, status: number, message: string): void {
    this.#clock.at(this.#clock.now(), () => {
      const pending = this.#pending.get(id);
      if (pending === undefined) return;
      this.#pending.delete(id);
      pending.onResult(failure(id, pending, status, message));
    });
  }

  #measure(result: Result): void {
    const sent = this.#sizes.get(result.id);
    if (sent === undefined) return;
    this.#sizes.delete(result.id);
    const { sync } = this.link;
    if (!sync.known) return;
    const takenNs = sync.toLocal(result.header.action_received_ns) - sent.sentNs - sync.rttNs / 2;
    // Whatever the worker reports, it cannot have taken longer than until now.
    const transferNs = Math.max(0, Math.min(takenNs, this.#clock.now() - sent.sentNs));
    const weight = this.#doubted ? 1 : SMOOTHING;
    this.#doubted = false;
    this.#nsPerByte += weight * (transferNs / sent.bytes - this.#nsPerByte);
  }

  /**
   * After a moment in which the network or the worker stood still, inputs may seem to take so long that none
   * is sent any more; and only sending measures. So while it is asked how long they take and none is under way,
   * the estimate is halved again and again. What is measured then counts in full.
   */
  #doubt(): void {
    if (this.#sizes.size > 0 || this.#nsPerByte <= INITIAL_NS_PER_BYTE) return;
    const nowNs = this.#clock.now();
    this.#doubtNs ??= nowNs + DOUBT_NS;
    if (nowNs < this.#doubtNs) return;
    this.#doubtNs = nowNs + DOUBT_NS;
    this.#doubted = true;
    this.#nsPerByte = Math.max(INITIAL_NS_PER_BYTE, this.#nsPerByte / 2);
  }
}

const resultKinds: ReadonlySet<string> = new Set<ResultKind>([
  ...ACTION_KINDS.map((kind): ResultKind => `${kind}Result`),
  "ErrorResult",
]);

function isResult(message: AnyMessage): message is Result {
  return resultKinds.has(message.kind);
}

/** The substitute for the result of an action that the worker did not answer. */
function failure(id: number, { kind }: Pending, status: number, message: string): Result {
  const header = {
    action_received_ns: 0,
    result_sent_ns: 0,
    action_type: ACTION_KINDS.indexOf(kind),
    status,
    message: message.slice(0, 4096),
  };
  return { kind: "ErrorResult", id, header, payload: new Uint8Array(0) };
}
