/** Graceful shutdown: a node first finishes accepted work, for a limited time. */
import { Option } from "commander";
import { type Clock, MS, SECOND } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { parseDuration } from "./options/parse.ts";

/** How long a node that is told to stop may take to finish what it has, unless told otherwise. */
const DEFAULT_DRAIN_NS = 10 * SECOND;

/** The option that sets it, for every node that has one. */
export function drainOption(): Option {
  return new Option(
    "--drain <time>",
    "on a signal to stop, time to finish accepted work; a second signal ends at once",
  ).argParser(parseDuration).default(DEFAULT_DRAIN_NS, `${DEFAULT_DRAIN_NS / SECOND}s`);
}

const CHECK_NS = 5 * MS;

/** Resolves when nothing is `pending` any more, or after `limitNs`. Says so when there is something. */
export async function drained(
  clock: Clock,
  limitNs: number,
  what: string,
  pending: () => number,
  log: Log = console.log,
): Promise<void> {
  if (pending() === 0) return;
  log(`Shutting down: ${pending()} ${what} are being finished, for ${limitNs / SECOND} s`);
  const deadlineNs = clock.now() + limitNs;
  while (pending() > 0 && clock.now() < deadlineNs) {
    await new Promise<void>((resolve) => clock.at(clock.now() + CHECK_NS, resolve));
  }
  if (pending() > 0) log(`${pending()} ${what} could not be finished`);
}
