import assert from "node:assert/strict";
import { VirtualClock } from "../core/virtual_clock.ts";
import { ProcessClock } from "./process_clock.ts";

Deno.test("what is due while a process stands still is done at the end, in order, unless cancelled", () => {
  const base = new VirtualClock();
  const process = new ProcessClock(base);
  const done: string[] = [];
  const note = (what: string) => () => done.push(`${what} at ${base.now()}`);
  const handler = process.handling({ onMessage: note("message"), onClose: note("close") });
  process.at(5, note("before"));
  process.at(12, note("first"));
  const cancelled = process.at(13, note("cancelled"));
  process.at(40, note("after"));
  base.at(10, () => process.pause(20));
  base.at(15, () => handler.onMessage(undefined as never));
  base.at(16, () => handler.onClose(""));
  base.at(17, () => process.pause(100));
  base.run(20);
  cancelled.cancel();
  assert.ok(process.asleep);
  base.run(100);
  assert.ok(!process.asleep);
  assert.deepEqual(done, [
    "before at 5",
    "first at 30",
    "message at 30",
    "close at 30",
    "after at 40",
  ]);
});

Deno.test("a process that dies while it stands still does nothing more of what was due", () => {
  const base = new VirtualClock();
  const process = new ProcessClock(base);
  const done: number[] = [];
  process.at(12, () => done.push(12));
  process.at(25, () => done.push(25));
  base.at(10, () => process.pause(20));
  base.at(15, () => process.kill());
  base.run(100);
  assert.deepEqual(done, [25], "its next life has the clock from then on");
});
