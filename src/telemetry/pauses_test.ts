import assert from "node:assert/strict";
import { type Clock, MS } from "../core/clock.ts";
import { pausesLine, PauseWatch, type ProcessUsage } from "./pauses.ts";

/** A process that can be made to stand still: its one timer then comes late. */
class Process implements Clock {
  #nowNs = 0;
  #due: { timeNs: number; fn: () => void }[] = [];
  usage: ProcessUsage = { cpuNs: 0, heapBytes: 1000 };

  now(): number {
    return this.#nowNs;
  }

  at(timeNs: number, fn: () => void) {
    const timer = { timeNs, fn };
    this.#due.push(timer);
    return { cancel: () => this.#due = this.#due.filter((one) => one !== timer) };
  }

  /** Lets time pass in which everything comes when it is due. */
  run(ns: number): void {
    const endNs = this.#nowNs + ns;
    while (true) {
      const next = this.#due.toSorted((a, b) => a.timeNs - b.timeNs)[0];
      if (next === undefined || next.timeNs > endNs) break;
      this.#due = this.#due.filter((one) => one !== next);
      this.#nowNs = Math.max(this.#nowNs, next.timeNs);
      next.fn();
    }
    this.#nowNs = endNs;
  }

  /** Lets time pass in which nothing comes, and then all that was due. */
  stand(ns: number, cpuNs: number, heapBytes: number): void {
    this.#nowNs += ns;
    this.usage = { cpuNs: this.usage.cpuNs + cpuNs, heapBytes };
    this.run(0);
  }

  get pending(): number {
    return this.#due.length;
  }
}

function watched() {
  const process = new Process();
  return { process, watch: new PauseWatch(process, () => process.usage) };
}

Deno.test("without pauses none are counted", () => {
  const { process, watch } = watched();
  process.run(1000 * MS);
  assert.equal(watch.take(), null);
  assert.deepEqual(watch.total, { collector: 0, work: 0, machine: 0 });
});

Deno.test("a pause is explained by what the process did meanwhile", () => {
  const { process, watch } = watched();
  process.run(100 * MS);
  // The call was due after 10 ms of it: what it is late is compared with the time of the processor.
  process.stand(30 * MS, 29 * MS, 400);
  process.run(100 * MS);
  process.stand(40 * MS, 16 * MS, 2000);
  process.run(100 * MS);
  process.stand(50 * MS, 19 * MS, 2000);
  process.run(100 * MS);
  assert.deepEqual(watch.total, { collector: 1, work: 1, machine: 1 });
  const taken = watch.take();
  assert.deepEqual(taken, { counts: { collector: 1, work: 1, machine: 1 }, longestNs: 40 * MS });
  assert.equal(
    pausesLine(taken!),
    "Pauses above 5 ms: 3, at most 40.0 ms (1 garbage collection, 1 own work, " +
      "1 the machine was busy)",
  );
  assert.equal(watch.take(), null, "what was taken is not told again");
  assert.deepEqual(watch.total, { collector: 1, work: 1, machine: 1 });
});

Deno.test("a pause counts once, and a short one not at all", () => {
  const { process, watch } = watched();
  process.run(10 * MS);
  process.stand(15 * MS, 0, 1000);
  assert.equal(watch.take(), null, "the call was 5 ms late, and not more");
  process.run(100 * MS);
  process.stand(500 * MS, 0, 1000);
  process.run(100 * MS);
  assert.equal(watch.take()?.counts.machine, 1);
});

Deno.test("a watch that is closed leaves no timer", () => {
  const { process, watch } = watched();
  watch.close();
  assert.equal(process.pending, 0);
});
