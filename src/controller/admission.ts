/**
 * Which users' requests are taken. A user may have limits of its own, and while users compete for GPUs,
 * none may fill the queues beyond its share, so that the others' requests still meet their deadlines.
 *
 * Shares are enforced on work that waits, not on work done: so long as GPUs keep up, everyone gets
 * whatever it asks for.
 */
import { SECOND } from "../core/clock.ts";

export interface UserLimits {
  /** Its share of the GPUs, relative to other users', while they compete. */
  readonly weight: number;
  /** Requests a second, on average; Infinity: as many as it likes. */
  readonly ratePerSecond: number;
  /** Requests that may come at once after a pause, beyond that rate. */
  readonly burst: number;
  /** Requests that may be unanswered at a time. */
  readonly maxRequests: number;
}

export interface UserPolicy {
  /** Of users that are not named. */
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

/** How long a user that is quiet is remembered: whoever is alone for this long has no share to keep. */
const REMEMBER_NS = 60 * SECOND;
/** Users that are remembered; ids cost a sender nothing, memory is ours. */
const MAX_USERS = 65_536;
/** Users compete when what waits takes more than this part of the time that a request has. */
const CONTENDED = 0.6;

interface User {
  readonly limits: UserLimits;
  /** Requests that have been taken and not been answered, and the GPU time that they take, one by one. */
  unanswered: number;
  backlogNs: number;
  /** Of the token bucket: how many there were, and when. */
  tokens: number;
  countedNs: number;
  seenNs: number;
}

export class Admission {
  readonly #policy: UserPolicy;
  /** By id; those heard of longest ago come first. */
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
    // As much as the GPUs can do in time, with some to spare.
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

  /** A request that was taken has been answered. */
  answered(userId: number, costNs: number): void {
    const user = this.#users.get(userId)!;
    user.unanswered--;
    user.backlogNs -= costNs;
    this.#backlogNs -= costNs;
    if (user.unanswered > 0) return;
    // Sums of many numbers drift; where they must be zero, they are made so.
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

  /** Forgets a user or two that have been quiet for long: each call brings one at most. */
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
      // One that still waits for answers is not forgotten, nor one that has used up its rate.
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
