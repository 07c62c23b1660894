/** Tells whether other programs disturb a measurement. */
import { cpus } from "node:os";
import { cpuUsage } from "node:process";

/** CPU time, in milliseconds, since some moment. */
interface CpuTime {
  readonly wallMs: number;
  /** Of all programs, on all cores. */
  readonly busyMs: number;
  /** Of this program's threads. */
  readonly ownMs: number;
}

function cpuTime(): CpuTime {
  const busyMs = cpus().reduce(
    (sum, { times: { user, nice, sys, irq } }) => sum + user + nice + sys + irq,
    0,
  );
  const { user, system } = cpuUsage();
  return { wallMs: performance.now(), busyMs, ownMs: (user + system) / 1e3 };
}

export class OtherLoad {
  #last = cpuTime();

  /** How many cores other programs kept busy since the last call; exact to 10 ms of each core's time. */
  cores(): number {
    const now = cpuTime();
    const { wallMs, busyMs, ownMs } = this.#last;
    this.#last = now;
    const othersMs = Math.max(0, now.busyMs - busyMs - (now.ownMs - ownMs));
    return othersMs / Math.max(1, now.wallMs - wallMs);
  }
}
