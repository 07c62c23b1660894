/**
 * The actions of the last seconds. Only numbers are kept: an action itself holds its requests, and they
 * their inputs.
 */
import type { ActionRecord, SentAction } from "../records.ts";

/** Actions that are kept: the newest. */
export const KEPT_ACTIONS = 4096;

/** An action as it was planned, and as it was: the latter is all 0 while it is not over. */
export interface RecentAction {
  readonly actionId: number;
  /** 1 LoadWeights, 2 Infer, 3 EvictWeights. */
  readonly type: number;
  readonly workerId: number;
  readonly gpuId: number;
  readonly modelId: number;
  readonly batchSize: number;
  readonly plannedBeginNs: number;
  readonly plannedEndNs: number;
  readonly status: number;
  /** 0 where it failed. */
  readonly beginNs: number;
  readonly endNs: number;
}

const TYPES = { LoadWeights: 1, Infer: 2, EvictWeights: 3 } as const;

export class RecentActions {
  readonly #ended: RecentAction[] = [];
  /** When each of them ended, as {@link since} takes it. */
  readonly #sequences: number[] = [];
  /** Where the next one goes, once there are as many as are kept. */
  #next = 0;
  /** By id, oldest first. */
  readonly #planned = new Map<number, RecentAction>();

  sent(sent: SentAction): void {
    // Beyond that nobody can tell them apart on a screen.
    if (this.#planned.size >= KEPT_ACTIONS) return;
    this.#planned.set(sent.actionId, recent(sent, 0, 0, 0));
  }

  ended(record: ActionRecord, sequence: number): void {
    this.#planned.delete(record.actionId);
    const { status, beginNs, endNs } = record;
    this.#ended[this.#next] = recent(record, status, beginNs, endNs);
    this.#sequences[this.#next] = sequence;
    this.#next = (this.#next + 1) % KEPT_ACTIONS;
  }

  /** Those that are under way, oldest first, at most `limit`. */
  planned(limit: number): RecentAction[] {
    return [...this.#planned.values().take(limit)];
  }

  /** Those that ended later, oldest first; at most `limit`, and then the newest. */
  since(cursor: number, limit: number): RecentAction[] {
    const found: RecentAction[] = [];
    const count = this.#ended.length;
    for (let back = 1; back <= Math.min(count, limit); back++) {
      const at = (this.#next - back + KEPT_ACTIONS) % KEPT_ACTIONS;
      if (this.#sequences[at]! <= cursor) break;
      found.push(this.#ended[at]!);
    }
    return found.reverse();
  }
}

function recent(
  { actionId, action }: SentAction | ActionRecord,
  status: number,
  beginNs: number,
  endNs: number,
): RecentAction {
  return {
    actionId,
    type: TYPES[action.type],
    workerId: action.gpu.workerId,
    gpuId: action.gpu.gpuId,
    modelId: action.modelId,
    batchSize: action.type === "Infer" ? action.batchSize : 0,
    plannedBeginNs: action.expectedEndNs - action.expectedNs,
    plannedEndNs: action.expectedEndNs,
    status,
    beginNs,
    endNs,
  };
}
