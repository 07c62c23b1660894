/** What the operating system and V8 tell of this process, for those who watch it. */
import process from "node:process";
import { getHeapStatistics } from "node:v8";
import { type Clock, every, SECOND } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { pausesLine, PauseWatch } from "../telemetry/pauses.ts";

const PERIOD_NS = 10 * SECOND;

/** Watches this process's event loop. */
export function watchPauses(clock: Clock): PauseWatch {
  return new PauseWatch(clock, () => {
    const { user, system } = process.cpuUsage();
    return { cpuNs: 1000 * (user + system), heapBytes: getHeapStatistics().used_heap_size };
  });
}

/** Prints a line every ten seconds in which there were pauses. */
export function printPauses(clock: Clock, watch: PauseWatch, log: Log): void {
  every(clock, PERIOD_NS, () => {
    const pauses = watch.take();
    if (pauses !== null) log(pausesLine(pauses));
  });
}
