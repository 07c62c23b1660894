/**
 * Decides which users' requests are accepted. A user may have limits of its own. While users compete for
 * GPUs, none may fill the queues beyond its share, so that the others' requests still meet their deadlines.
 *
 * Shares limit waiting work, not completed work: as long as GPUs keep up, everyone gets what it asks for.
 */
import { SECOND } from "../core/clock.ts";

export interface UserLimits {
  /** Its share of the GPUs, relative to other users, while they compete. */
  readonly weight: number;
  /** Requests per second, on average; Infinity: no limit. */
  readonly ratePerSecond: number;
  /** Requests that may arrive at once after a pause, beyond that rate. */
  readonly burst: number;
  /** Unanswered requests at a time. */
  readonly maxRequests: number;
}

export interface UserPolicy {
  /** Limits of users that are not named. */
  readonly others: UserLimits;
  readonly named: ReadonlyMap<number, UserLimits>;
}

export const DEFAULT_USER_LIMITS: UserLimits = {
  weight: 1,
  ratePerSecond: Infinity,
  burst: 100,
  maxRequests: 65_536,
};

export const DEFAULT_USER_POLICY: UserPolicy = { others: DEFAULT_USER_LIMITS, named: new Map() };

/** How long a quiet user is remembered. A user that is alone for this long has no competitors. */
const REMEMBER_NS = 60 * SECOND;
/** Number of remembered users: clients can invent ids at no cost, but each takes memory. */
const MAX_USERS = 65_536;
/** Users compete if waiting work takes more than this share of the time that a request has. */
const CONTENDED = 0.6;

interface User {
  readonly limits: UserLimits;
  /** Accepted, unanswered requests, and the GPU time that they take without batching. */
  unanswered: number;
  backlogNs: number;
  /** The token bucket: number of tokens, and the time of that count. */
  tokens: number;
  countedNs: number;
  seenNs: number;
}

export class Admission {
  readonly #policy: UserPolicy;
  /** By id, least recently active first. */
  readonly #users = new Map<number, User>();
  #backlogNs = 0;
  /** Users with unanswered requests, and the sum of their weights. */
  #active = 0;
  #activeWeight = 0;

  constructor(policy: UserPolicy) {
    this.#policy = policy;
  }

  /**
   * Takes a request, and returns null; or says why not.
   *
   * @param costNs time that it takes of a GPU when it runs alone.
   * @param allowedNs time until its deadline.
   * @param gpus how many there are.
   */
  admit(
    userId: number,
    nowNs: number,
    costNs: number,
    allowedNs: number,
    gpus: number,
  ): string | null {
    const user = this.#user(userId, nowNs);
    const { maxRequests, ratePerSecond, weight } = user.limits;
    if (user.unanswered >= maxRequests) {
      return `${maxRequests} requests of user ${userId} are waiting, its limit: try again later`;
    }
    // What the GPUs can do in time, with some reserve.
    const roomNs = CONTENDED * allowedNs * Math.max(1, gpus);
    if (
      this.#users.size > 1 && user.unanswered > 0 && this.#backlogNs + costNs > roomNs &&
      user.backlogNs + costNs > roomNs * weight / this.#activeWeight
    ) {
      return `user ${userId} has its share of the GPUs, and others wait: try again later`;
    }
    if (ratePerSecond !== Infinity) {
      user.tokens = tokensAt(user, nowNs);
      user.countedNs = nowNs;
      if (user.tokens < 1) {
        return `user ${userId} asks for more than its ${ratePerSecond} requests a second`;
      }
      user.tokens--;
    }
    if (user.unanswered === 0) {
      this.#active++;
      this.#activeWeight += weight;
    }
    user.unanswered++;
    user.backlogNs += costNs;
    this.#backlogNs += costNs;
    return null;
  }

  /** An accepted request has been answered. */
  answered(userId: number, costNs: number): void {
    const user = this.#users.get(userId)!;
    user.unanswered--;
    user.backlogNs -= costNs;
    this.#backlogNs -= costNs;
    if (user.unanswered > 0) return;
    // Sums of many numbers drift, so reset them when they must be zero.
    user.backlogNs = 0;
    this.#active--;
    this.#activeWeight -= user.limits.weight;
    if (this.#active === 0) this.#backlogNs = this.#activeWeight = 0;
  }

  #user(userId: number, nowNs: number): User {
    let user = this.#users.get(userId);
    if (user === undefined) {
      const limits = this.#policy.named.get(userId) ?? this.#policy.others;
      const { burst: tokens } = limits;
      user = { limits, unanswered: 0, backlogNs: 0, tokens, countedNs: nowNs, seenNs: nowNs };
    } else {
      this.#users.delete(userId);
      user.seenNs = nowNs;
    }
    this.#users.set(userId, user);
    this.#forget(nowNs);
    return user;
  }

  /** Forgets up to two users that have been quiet for long: each call adds at most one. */
  #forget(nowNs: number): void {
    for (let i = 0; i < 2; i++) {
      const [oldest] = this.#users;
      if (oldest === undefined) return;
      const [id, user] = oldest;
      const full = this.#users.size > MAX_USERS;
      if (!full && nowNs - user.seenNs < REMEMBER_NS) return;
      this.#users.delete(id);
      const owes = user.limits.ratePerSecond !== Infinity &&
        tokensAt(user, nowNs) < user.limits.burst;
      // A user with unanswered requests, or without tokens left, is not forgotten.
      if (user.unanswered > 0 || (owes && !full)) {
        user.seenNs = nowNs;
        this.#users.set(id, user);
      }
    }
  }
}

function tokensAt({ limits, tokens, countedNs }: User, nowNs: number): number {
  const { burst, ratePerSecond } = limits;
  return Math.min(burst, tokens + (nowNs - countedNs) * ratePerSecond / SECOND);
}
