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
 * it at the measured end. While the oldest piece is overdue, the engine is assumed to end it any
 * moment; once overdue by {@link STUCK_NS} the estimate slides with the present. An engine that let an
 * action's window pass is busy with something unknown: it is not counted on for a while, twice as long
 * each time until it does something again.
 */
export class Predictor<P extends Piece> {
  readonly #outstanding: P[] = [];
  /** When the engine ended its last piece, as measured. */
  #anchorNs = 0;
  /** Predicted end of all outstanding pieces, if all is as expected. */
  #endNs = 0;
  /** It is not counted on before this, and next time for that long. */
  #distrustedUntilNs = 0;
  #distrustNs = STUCK_NS;

  get outstanding(): number {
    return this.#outstanding.length;
  }

  /** When the engine is predicted to have done all it was given; never before `nowNs`. */
  freeNs(nowNs: number): number {
    return Math.max(this.#undistrustedFreeNs(nowNs), this.#distrustedUntilNs);
  }

  #undistrustedFreeNs(nowNs: number): number {
    const head = this.#outstanding[0];
    if (head === undefined) return nowNs;
    const headEndNs = Math.max(this.#anchorNs, head.arrivesNs) + head.expectedNs;
    const overdueNs = nowNs - headEndNs;
    if (overdueNs <= 0) return this.#endNs;
    // Overdue: what follows has not begun, so it is pushed back as far; a stuck head may take as long
    // again as it has been stuck, and a newcomer should not count on the engine.
    const slackNs = overdueNs > STUCK_NS ? STUCK_NS : 0;
    return this.#endNs + overdueNs + slackNs;
  }

  add(piece: P): void {
    this.#endNs = this.#outstanding.length === 0
      ? Math.max(this.#anchorNs, piece.arrivesNs) + piece.expectedNs
      : Math.max(this.#endNs, piece.arrivesNs) + piece.expectedNs;
    this.#outstanding.push(piece);
  }

  /** A piece has ended, at `endNs` if it ran. Pieces may end in another order than they were given. */
  remove(piece: P, endNs: number | null): void {
    const index = this.#outstanding.indexOf(piece);
    if (index < 0) return;
    this.#outstanding.splice(index, 1);
    if (endNs !== null) {
      this.#anchorNs = Math.max(this.#anchorNs, endNs);
      this.#distrustedUntilNs = 0;
      this.#distrustNs = STUCK_NS;
    }
    this.#recompute();
  }

  /** The engine did not begin a piece within its window. */
  distrust(nowNs: number): void {
    // Several pieces that expire together are one sign, not several.
    if (nowNs < this.#distrustedUntilNs) return;
    this.#distrustedUntilNs = nowNs + this.#distrustNs;
    this.#distrustNs = Math.min(2 * this.#distrustNs, MAX_DISTRUST_NS);
  }

  #recompute(): void {
    let endNs = this.#anchorNs;
    for (const piece of this.#outstanding) {
      endNs = Math.max(endNs, piece.arrivesNs) + piece.expectedNs;
    }
    this.#endNs = endNs;
  }
}
