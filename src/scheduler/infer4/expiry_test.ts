import assert from "node:assert/strict";
import { MS } from "../../core/clock.ts";
import { VirtualClock } from "../../core/virtual_clock.ts";
import type { Request } from "../scheduler.ts";
import { Expiry } from "./expiry.ts";
import { Model } from "./state.ts";

const RUNS = { specs: new Map(), execFloorNs: MS, loadFloorNs: MS };

function rig() {
  const clock = new VirtualClock();
  const due: [id: number, atMs: number][] = [];
  const expiry = new Expiry<Request>(clock, ({ id }) => due.push([id, clock.now() / MS]));
  return { clock, due, expiry, models: [0, 1].map((id) => new Model<Request>(id, RUNS)) };
}

Deno.test("a model is due within 5 ms of its time, together with others", () => {
  const { clock, due, expiry, models: [a, b] } = rig();
  expiry.note(a!, 11 * MS);
  expiry.note(b!, 14.9 * MS);
  clock.advance(50 * MS);
  assert.deepEqual(due, [[0, 15], [1, 15]]);
  expiry.note(a!, -Infinity);
  expiry.note(b!, 60 * MS);
  clock.advance(50 * MS);
  assert.deepEqual(due.slice(2), [[0, 55], [1, 65]]);
});

Deno.test("a model is due once, at the earliest of its times", () => {
  const { clock, due, expiry, models: [a] } = rig();
  expiry.note(a!, 41 * MS);
  expiry.note(a!, 21 * MS);
  expiry.note(a!, 22 * MS);
  expiry.note(a!, 31 * MS);
  clock.advance(30 * MS);
  assert.deepEqual(due, [[0, 25]]);
  clock.advance(50 * MS);
  assert.equal(due.length, 1);
  // Noted again before its first time has passed, it is not due twice at that time.
  expiry.note(a!, 101 * MS);
  expiry.note(a!, 91 * MS);
  clock.advance(15 * MS);
  expiry.note(a!, 101 * MS);
  clock.advance(50 * MS);
  assert.deepEqual(due.slice(1), [[0, 95], [0, 105]]);
});
