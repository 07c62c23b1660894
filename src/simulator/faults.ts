/** What can go wrong in a simulated cluster, and when. */
import { MS, SECOND } from "../core/clock.ts";
import type { Random } from "../core/random.ts";

/** The kinds of fault: what they do to whom, and what `ms` means for them. */
export const FAULT_KINDS = {
  "worker-crash": "a worker dies, and comes back without its models after ms",
  "gpu-stuck": "a GPU begins nothing for ms; what it begins then takes as long as ever",
  "device-lost": "a GPU fails all that it is given for ms",
  "slow-link": "the network of a worker is 20 times slower for ms",
  "partition": "nothing gets through between the controller and a worker for ms",
  "corrupted-frame": "a worker's connection breaks, and is made again after ms",
  "reordered-clients": "messages of clients take up to 10 ms longer for ms, so that they overtake",
  "client-crash": "a client dies, and another begins anew after ms",
  "client-cut": "a client's connection breaks, and the client makes it again",
  "controller-restart":
    "the controller dies, and comes back after ms: with --registry, with its models",
  "worker-pause": "a worker's process stands still for ms; its GPUs go on with what they run",
  "client-pause": "a client's process stands still for ms",
  "controller-pause": "the controller's process stands still for ms",
} as const;

export type FaultKind = keyof typeof FAULT_KINDS;

export interface Fault {
  readonly kind: FaultKind;
  readonly atNs: number;
  /** How long it lasts. */
  readonly durationNs: number;
  /** Which worker, GPU or client, counted on past the last from the first. */
  readonly target: number;
}

/**
 * Reads `KIND@SECONDS:MS` or `KIND@SECONDS:MS:TARGET`, e.g. `gpu-stuck@3.5:200:1`.
 * @throws {RangeError} with a message for the user.
 */
export function parseFault(text: string): Fault {
  const match = /^([a-z-]+)@(\d+(?:\.\d+)?):(\d+)(?::(\d+))?$/.exec(text);
  const kind = match?.[1];
  if (match === null || !isFaultKind(kind)) {
    throw new RangeError(
      `"${text}" is not a fault: expected KIND@SECONDS:MILLISECONDS[:TARGET], e.g. ` +
        `gpu-stuck@3.5:200:1; the kinds are ${Object.keys(FAULT_KINDS).join(", ")}`,
    );
  }
  return {
    kind,
    atNs: Math.round(Number(match[2]) * SECOND),
    durationNs: Number(match[3]) * MS,
    target: Number(match[4] ?? 0),
  };
}

export function formatFault({ kind, atNs, durationNs, target }: Fault): string {
  return `${kind}@${atNs / SECOND}:${durationNs / MS}:${target}`;
}

/** Faults that begin between two times and are over by the second. */
export function randomFaults(
  random: Random,
  count: number,
  fromNs: number,
  untilNs: number,
  kinds: readonly FaultKind[],
): Fault[] {
  const faults = Array.from({ length: count }, (): Fault => {
    const durationNs = (5 + random.below(400)) * MS;
    const room = Math.max(1, (untilNs - fromNs - durationNs) / MS);
    return {
      kind: kinds[random.below(kinds.length)]!,
      atNs: fromNs + random.below(room) * MS,
      durationNs,
      target: random.below(16),
    };
  });
  return faults.sort((a, b) => a.atNs - b.atNs);
}

function isFaultKind(text: string | undefined): text is FaultKind {
  return text !== undefined && Object.hasOwn(FAULT_KINDS, text);
}
