/**
 * One action from its arrival at the worker to its result.
 *
 * Every action ends exactly once, with {@link Action.succeed}, {@link Action.fail} or {@link
 * Action.abandon}. Ending it again does nothing, so that a backend that reports late or twice does no harm.
 */
import { ActionStatus } from "../core/status.ts";
import type { ActionKind } from "../wire/describe.ts";
import type { Header } from "../wire/messages.ts";
import type { Failure } from "./backend.ts";

/** The time at which the worker had an action and the time at which it answers, added when sending. */
export type HandlingTimes = "action_received_ns" | "result_sent_ns";

/** The header of a successful result, less what is added when it is sent. */
export type ResultOf<K extends ActionKind> = Omit<Header<`${K}Result`>, HandlingTimes>;

/** What a result has to repeat of its action. */
export interface ActionRef<K extends ActionKind = ActionKind> {
  readonly kind: K;
  readonly id: number;
  readonly receivedNs: number;
}

/** The controller that sent an action, as executors see it. One of these is called for each action. */
export interface Requester {
  onSuccess<K extends ActionKind>(
    action: ActionRef<K>,
    result: ResultOf<K>,
    payload?: readonly Uint8Array[],
  ): void;
  onFailure(action: ActionRef, status: Failure["status"], message: string): void;
  /** The action ended without a result, since nobody is there to take it. */
  onAbandoned(action: ActionRef): void;
}

/** What does one action at a time: a GPU's execution, its transfers, or the reading of models. */
export interface Engine {
  /** `action`, which this engine started, needs it no more. */
  release(action: Action): void;
}

/** What every action has when it arrives. Times are in the worker's clock. */
export interface Arrival<K extends ActionKind = ActionKind> extends ActionRef<K> {
  readonly requester: Requester;
  /** The window in which the action must start. */
  readonly earliestNs: number;
  readonly latestNs: number;
}

export abstract class Action<K extends ActionKind = ActionKind> implements Arrival<K> {
  readonly kind: K;
  readonly id: number;
  readonly requester: Requester;
  readonly receivedNs: number;
  readonly earliestNs: number;
  readonly latestNs: number;
  /** Kept by the executor in whose queue this action is. */
  sequence = 0;
  startIndex = -1;
  expiryIndex = -1;
  #ended = false;

  constructor(arrival: Arrival<K>) {
    this.kind = arrival.kind;
    this.id = arrival.id;
    this.requester = arrival.requester;
    this.receivedNs = arrival.receivedNs;
    this.earliestNs = arrival.earliestNs;
    this.latestNs = arrival.latestNs;
  }

  /** The status with which this action fails when it cannot start in time. */
  abstract get tooLateStatus(): Failure["status"];

  /**
   * Does it, now or over time, and ends it; calls `engine.release(this)` once, now or later, when the
   * engine is free for the next action. May throw: then the action fails and the engine is free.
   */
  abstract start(nowNs: number, engine: Engine): void;

  get ended(): boolean {
    return this.#ended;
  }

  succeed(result: ResultOf<K>, payload?: readonly Uint8Array[]): void {
    if (!this.#end()) return;
    this.requester.onSuccess<K>(this, result, payload);
  }

  fail(status: Failure["status"], message: string): void {
    if (!this.#end()) return;
    this.requester.onFailure(this, status, message);
  }

  /** Ends without a result. */
  abandon(): void {
    if (!this.#end()) return;
    this.requester.onAbandoned(this);
  }

  failTooLate(nowNs: number): void {
    const lateMs = ((nowNs - this.latestNs) / 1e6).toFixed(3);
    this.fail(
      this.tooLateStatus,
      `not started within its window: its latest start was ${lateMs} ms ago`,
    );
  }

  /** Fails because of an exception that nobody expected. */
  failWith(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.fail(ActionStatus.runtimeError, `the worker failed: ${reason}`);
  }

  /** Called once, when the action has ended in any way, before its result is sent. */
  protected onEnd(): void {}

  #end(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.onEnd();
    return true;
  }
}
