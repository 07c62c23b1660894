/** One connected controller: accepts its actions, sends their results, and prints them for people. */
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { ActionStatus } from "../core/status.ts";
import type { WorkerTelemetry } from "../telemetry/worker_records.ts";
import {
  ACTION_KINDS,
  type ActionKind,
  describeAction,
  describeResult,
  type MessageOf,
  type ResultKind,
} from "../wire/describe.ts";
import type { Link, LinkHandler } from "../wire/link.ts";
import type { AnyMessage, Header } from "../wire/messages.ts";
import type { ActionRef, Requester, ResultOf } from "./action.ts";
import { ActionTrace } from "./action_trace.ts";
import type { Activity, ErrorDigest } from "./activity.ts";
import type { Failure } from "./backend.ts";
import type { WorkerNode } from "./worker_node.ts";

/** What the sessions of a worker share. */
export interface SessionContext {
  readonly clock: Clock;
  readonly node: WorkerNode;
  readonly log: Log;
  readonly activity: Activity;
  readonly errors: ErrorDigest;
  readonly telemetry: WorkerTelemetry | null;
  readonly onClosed: (session: Session, reason: string) => void;
}

/** Longest message of an error on the wire, in characters. */
const MAX_MESSAGE_LENGTH = 4096;

/** These come by the thousand: they are counted, not printed. */
const QUIET: ReadonlySet<ActionKind> = new Set([
  "Infer",
  "LoadWeights",
  "EvictWeights",
  "UploadChunk",
  "ReadUpload",
]);

export class Session implements LinkHandler, Requester {
  readonly link: Link;
  /** Counts the controllers that a worker has had. */
  readonly number: number;
  readonly #context: SessionContext;
  readonly #trace: ActionTrace | null;
  #open = true;

  constructor(link: Link, number: number, context: SessionContext) {
    this.link = link;
    this.number = number;
    this.#context = context;
    const { clock, telemetry } = context;
    this.#trace = telemetry === null ? null : new ActionTrace(clock, telemetry, number, link.sync);
  }

  onMessage(message: AnyMessage): void {
    switch (message.kind) {
      case "Infer":
      case "LoadWeights":
      case "EvictWeights":
      case "UploadChunk":
      case "ReadUpload":
        return this.#submit(message);
      case "LoadModelFromDisk":
      case "ClearCache":
      case "UnloadModel":
      case "BeginUpload":
      case "EndUpload":
      case "ListUploads":
      case "RemoveUploads":
      case "GetWorkerState": {
        const nowNs = this.#context.clock.now() - this.link.sync.offsetNs;
        this.#context.log(`Received ${describeAction(message, nowNs)}`);
        return this.#submit(message);
      }
      default:
        this.link.close(
          `a worker takes actions, not ${message.kind}; clients connect to a controller`,
        );
    }
  }

  onClose(reason: string): void {
    this.#open = false;
    this.#context.node.abandon(this);
    this.#context.onClosed(this, reason);
  }

  onSuccess<K extends ActionKind>(
    action: ActionRef<K>,
    result: ResultOf<K>,
    payload?: readonly Uint8Array[],
  ): void {
    const { clock, activity } = this.#context;
    activity.pending--;
    activity.succeeded(action.kind);
    this.#trace?.succeeded(action, result);
    if (!this.#open) return;
    const kind: `${K}Result` = `${action.kind}Result`;
    const header = {
      ...result,
      action_received_ns: action.receivedNs,
      result_sent_ns: clock.now(),
    } as unknown as Header<`${K}Result`>;
    if (!QUIET.has(action.kind)) {
      this.#print({ kind, id: action.id, header } as unknown as MessageOf<ResultKind>);
    }
    this.link.send(kind, action.id, header, payload);
  }

  onFailure(action: ActionRef, status: Failure["status"], message: string): void {
    const { clock, activity, errors } = this.#context;
    activity.pending--;
    activity.failed();
    this.#trace?.failed(action, status);
    if (!this.#open) return;
    const header = {
      action_type: ACTION_KINDS.indexOf(action.kind),
      status,
      message: message.slice(0, MAX_MESSAGE_LENGTH),
      action_received_ns: action.receivedNs,
      result_sent_ns: clock.now(),
    };
    if (!QUIET.has(action.kind) || errors.admit(`${action.kind} ${status}`)) {
      this.#print({ kind: "ErrorResult", id: action.id, header });
    }
    this.link.send("ErrorResult", action.id, header);
  }

  onAbandoned(action: ActionRef): void {
    this.#context.activity.pending--;
    this.#trace?.failed(action, ActionStatus.cancelled);
  }

  #submit(message: MessageOf<ActionKind>): void {
    this.#context.activity.pending++;
    this.#trace?.received(message);
    this.#context.node.submit(message, this, this.link.sync);
  }

  #print(result: Pick<MessageOf<ResultKind>, "kind" | "id" | "header">): void {
    this.#context.log(`Sending ${describeResult(result)}`);
  }
}
