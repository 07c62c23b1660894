/** Limits of parameters, beyond which a run would only measure its own overload. */

/** Requests a second of one generator. */
export const MAX_RATE = 1_000_000;
/** Copies of one model, and models in all. */
export const MAX_COPIES = 100_000;
/** Requests that the closed loops of a run may keep outstanding together; the client refuses more. */
export const MAX_CONCURRENCY = 50_000;
/** Longest period, in seconds: a day. */
export const MAX_PERIOD_S = 86_400;
/** Largest SLO factor. */
export const MAX_SLO_FACTOR = 1_000_000;

export const RESNET = "resnet50_v2";
