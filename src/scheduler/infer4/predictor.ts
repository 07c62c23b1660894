import { MS } from "../../core/clock.ts";

/** An action that is overdue by more than this is assumed stuck. */
export const STUCK_NS = 10 * MS;
/** The longest an engine that lets actions expire is left alone at a time. */
const MAX_DISTRUST_NS = 160 * MS;

/** Work given to an engine, which does one piece after the other, in the order given. */
interface Piece {
  readonly expectedNs: number;
  /** Not before this: its input is still on the way. */
  readonly arrivesNs: number;
}

/**
 * Predicts when an engine of a GPU (execution, or weight transfer) will be free.
 *
 * Free time = the start of the oldest outstanding piece + the expected durations. A result re-anchors
 * it at the measured end. While the oldest piece is overdue, that is its result should have been here,
 * the engine is assumed to end it any moment; once overdue by {@link STUCK_NS} the estimate slides with the present. An engine that let an
 * action's window pass is busy with something unknown: it is not counted on for a while, twice as long
 * each time until it does something again.
 */
export class Predictor<P extends Piece> {
  /** How long a result takes from the engine to here. */
  resultDelayNs = 0;
  readonly #outstanding: P[] = [];
  /** When each outstanding piece can start at the earliest, whatever is before it. */
  readonly #notBeforeNs: number[] = [];
  /** When the engine ended its last piece, as measured. */
  #anchorNs = 0;
  /** Predicted ends of the oldest outstanding piece and of the newest, if all is as expected. */
  #headEndNs = 0;
  #endNs = 0;
  /** It is not counted on before this, and next time for that long. */
  #distrustedUntilNs = 0;
  #distrustNs = STUCK_NS;

  get outstanding(): number {
    return this.#outstanding.length;
  }

  /** When the engine is predicted to have done all it was given; never before `nowNs`. */
  freeNs(nowNs: number): number {
    let freeNs = nowNs;
    if (this.#outstanding.length > 0) {
      const dueNs = this.#headEndNs + this.resultDelayNs;
      freeNs = dueNs >= nowNs ? this.#endNs : this.#overdueFreeNs(nowNs, nowNs - dueNs);
    }
    return Math.max(freeNs, nowNs, this.#distrustedUntilNs);
  }

  add(piece: P): void {
    const notBeforeNs = Math.max(piece.arrivesNs, this.#distrustedUntilNs);
    this.#outstanding.push(piece);
    this.#notBeforeNs.push(notBeforeNs);
    if (this.#outstanding.length === 1) {
      this.#headEndNs = Math.max(this.#anchorNs, notBeforeNs) + piece.expectedNs;
      this.#endNs = this.#headEndNs;
    } else {
      this.#endNs = Math.max(this.#endNs, notBeforeNs) + piece.expectedNs;
    }
  }

  /** A piece has ended, at `endNs` if it ran. Pieces may end in another order than they were given. */
  remove(piece: P, endNs: number | null): void {
    const index = this.#outstanding.indexOf(piece);
    if (index < 0) return;
    this.#outstanding.splice(index, 1);
    this.#notBeforeNs.splice(index, 1);
    if (endNs !== null) {
      this.#anchorNs = Math.max(this.#anchorNs, endNs);
      this.#distrustedUntilNs = 0;
      this.#distrustNs = STUCK_NS;
    }
    const head = this.#outstanding[0];
    if (head === undefined) return;
    this.#headEndNs = Math.max(this.#anchorNs, this.#notBeforeNs[0]!) + head.expectedNs;
    this.#endNs = this.#endAfter(this.#headEndNs);
  }

  /** The engine did not begin a piece within its window. */
  distrust(nowNs: number): void {
    // Several pieces that expire together are one sign, not several.
    if (nowNs < this.#distrustedUntilNs) return;
    this.#distrustedUntilNs = nowNs + this.#distrustNs;
    this.#distrustNs = Math.min(2 * this.#distrustNs, MAX_DISTRUST_NS);
  }

  /** While the oldest piece is overdue, what follows has not begun. */
  #overdueFreeNs(nowNs: number, overdueNs: number): number {
    // A stuck engine stays out of reach of schedule_ahead: a newcomer should not count on it.
    if (overdueNs > STUCK_NS) return this.#endAfter(nowNs + STUCK_NS);
    return this.#endAfter(nowNs - this.resultDelayNs);
  }

  /** The end of the newest piece, if the oldest ends at `headEndNs`. */
  #endAfter(headEndNs: number): number {
    let endNs = headEndNs;
    for (let i = 1; i < this.#outstanding.length; i++) {
      endNs = Math.max(endNs, this.#notBeforeNs[i]!) + this.#outstanding[i]!.expectedNs;
    }
    return endNs;
  }
}
