import { MS } from "../../core/clock.ts";

/** An action that is overdue by more than this is assumed to be stuck. */
export const STUCK_NS = 10 * MS;
/** The longest time for which an engine that lets actions expire gets no work. */
const MAX_DISTRUST_NS = 160 * MS;

/** Work given to an engine, which executes pieces one after the other, in the order given. */
interface Piece {
  readonly expectedNs: number;
  /** It cannot start before this, because its input is still on the way. */
  readonly arrivesNs: number;
}

/**
 * Predicts when an engine of a GPU (execution, or weight transfer) will be free.
 *
 * Free time = the start of the oldest outstanding piece + the expected durations. A result re-anchors it at
 * the measured end. If the oldest piece is overdue, that is, its result should have arrived, it is expected
 * to end at any moment; once it is overdue by {@link STUCK_NS}, the estimate moves along with the present.
 * An engine that let an action's window pass is busy with something unknown: it gets no work for a while,
 * twice as long each time until it does something again.
 */
export class Predictor<P extends Piece> {
  /** How long a result takes from the engine to the controller. */
  resultDelayNs = 0;
  readonly #outstanding: P[] = [];
  /** The earliest start of each outstanding piece, whatever comes before it. */
  readonly #notBeforeNs: number[] = [];
  /** When the engine ended its last piece, as measured. */
  #anchorNs = 0;
  /** Predicted ends of the oldest and of the newest outstanding piece, if everything goes as expected. */
  #headEndNs = 0;
  #endNs = 0;
  /** It gets no work before this; and the length of the next such pause. */
  #distrustedUntilNs = 0;
  #distrustNs = STUCK_NS;

  get outstanding(): number {
    return this.#outstanding.length;
  }

  /** When the engine is predicted to have finished all its work; never before `nowNs`. */
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

  /** A piece has ended, at `endNs` if it ran. Pieces may end in a different order than they were given. */
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

  /** The engine did not start a piece within its window. */
  distrust(nowNs: number): void {
    // Several pieces that expire together count once.
    if (nowNs < this.#distrustedUntilNs) return;
    this.#distrustedUntilNs = nowNs + this.#distrustNs;
    this.#distrustNs = Math.min(2 * this.#distrustNs, MAX_DISTRUST_NS);
  }

  /** While the oldest piece is overdue, the following ones have not started. */
  #overdueFreeNs(nowNs: number, overdueNs: number): number {
    // Keeps a stuck engine beyond schedule_ahead, so that new requests do not count on it.
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
