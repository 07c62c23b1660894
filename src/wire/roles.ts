/** The roles of nodes, and which messages they send to each other. */
import { type Kind, KIND_NUMBERS } from "./messages.ts";

export type Role = "worker" | "controller" | "client";

/** Says why a message may not come before Hello; undefined: it may. */
export function refuseBeforeHello(kind: Kind): string | undefined {
  return kind === "Hello" || kind === "Goodbye" ? undefined : `${kind} before Hello`;
}

/** The numbers of the kinds that one role may send to another: [first, last]. */
const KINDS_BETWEEN: Readonly<Record<string, readonly [number, number]>> = {
  "controller to worker": [16, 31],
  "worker to controller": [32, 47],
  "client to controller": [64, 79],
  "controller to client": [80, 95],
};

/** Refuses what no peer of that role has to say to us. */
export function refuseKind(kind: Kind, from: Role, to: Role): string | undefined {
  if (kind === "Ping" || kind === "Goodbye") return undefined;
  const number = KIND_NUMBERS[kind];
  const [first, last] = KINDS_BETWEEN[`${from} to ${to}`] ?? [0, -1];
  return number >= first && number <= last ? undefined : `${kind} from a ${from}`;
}
