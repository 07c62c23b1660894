/**
 * Requests that clients may repeat. A client that has lost its connection cannot know whether its request
 * was carried out. It therefore gives the request a key of its choice and repeats it with the same key. The
 * repeat gets the first one's answer, and nothing is done twice.
 */
import { RequestStatus } from "../../core/status.ts";

/** Why a request could not be done, for its client. */
export interface Refusal {
  readonly status: Exclude<RequestStatus, 0>;
  readonly message: string;
}

export function invalid(message: string): Refusal {
  return { status: RequestStatus.invalidRequest, message };
}

export type Outcome<Answer> = { readonly answer: Answer } | Refusal;

/** A request that was done. */
export interface Remembered<Answer> {
  readonly key: string;
  /** What was asked for: the same text for the same request. */
  readonly asked: string;
  readonly answer: Answer;
}

interface Entry<Answer> {
  readonly asked: string;
  /** Undefined while it is under way. */
  readonly answer?: Answer;
  /** Those who wait for it. */
  readonly waiting: ((outcome: Outcome<Answer>) => void)[];
}

/** Answers that are kept for repeats. The oldest goes first. */
const MAX_REMEMBERED = 10_000;

export class RequestKeys<Answer> {
  readonly #entries = new Map<string, Entry<Answer>>();
  #remembered = 0;

  /**
   * Does a request, unless one with the same key has been done or is under way. `settle` is called once;
   * a refusal is not remembered, so that a repeat tries again.
   *
   * @param key "" for a request that is done in any case.
   * @param asked the same text for the same request.
   * @param perform does it, and calls what it is given once, now or later.
   */
  once(
    key: string,
    asked: string,
    perform: (done: (outcome: Outcome<Answer>) => void) => void,
    settle: (outcome: Outcome<Answer>) => void,
  ): void {
    if (key === "") return perform(settle);
    const known = this.#entries.get(key);
    if (known === undefined) {
      const waiting = [settle];
      this.#entries.set(key, { asked, waiting });
      perform((outcome) => {
        this.#entries.delete(key);
        if ("answer" in outcome) this.#remember({ key, asked, answer: outcome.answer });
        for (const tell of waiting) tell(outcome);
      });
    } else if (known.asked !== asked) {
      settle(
        invalid("its key was used for another request: a key is for one request and its repeats"),
      );
    } else if (known.answer !== undefined) {
      settle({ answer: known.answer });
    } else {
      known.waiting.push(settle);
    }
  }

  /** What is remembered, oldest first. */
  *remembered(): Generator<Remembered<Answer>> {
    for (const [key, { asked, answer }] of this.#entries) {
      if (answer !== undefined) yield { key, asked, answer };
    }
  }

  /** Takes over what another has remembered. */
  restore(answers: Iterable<Remembered<Answer>>): void {
    for (const one of answers) this.#remember(one);
  }

  #remember({ key, asked, answer }: Remembered<Answer>): void {
    this.#entries.set(key, { asked, answer, waiting: [] });
    if (++this.#remembered <= MAX_REMEMBERED) return;
    for (const [oldest, entry] of this.#entries) {
      if (entry.answer === undefined) continue;
      this.#entries.delete(oldest);
      this.#remembered--;
      return;
    }
  }
}
