import assert from "node:assert/strict";
import { type Debtor, SendBudget } from "./send_budget.ts";

class Peer implements Debtor {
  queuedBytes = 0;
  aborted = "";
  readonly #budget: SendBudget;

  constructor(budget: SendBudget) {
    this.#budget = budget;
  }

  queue(bytes: number): void {
    this.queuedBytes += bytes;
    this.#budget.queued(this, bytes);
  }

  read(bytes: number): void {
    this.queuedBytes -= bytes;
    this.#budget.settled(this, bytes);
  }

  abort(reason: string): void {
    this.aborted = reason;
    this.read(this.queuedBytes);
  }
}

Deno.test("whoever lets most wait goes first, and only as many as need be", () => {
  const budget = new SendBudget(100);
  const [slow, slower, good] = [new Peer(budget), new Peer(budget), new Peer(budget)];
  slow.queue(40);
  slower.queue(50);
  for (let i = 0; i < 1000; i++) {
    good.queue(10);
    good.read(10);
  }
  assert.equal(budget.queuedBytes, 90);
  slow.queue(5);
  good.queue(8);
  assert.match(slower.aborted, /^the peer does not read: 50 of the 100 bytes that may wait/);
  assert.equal(budget.queuedBytes, 53);
  assert.deepEqual([slow.aborted, good.aborted], ["", ""]);
  good.queue(1000);
  assert.notEqual(good.aborted, "", "one message may be too much");
  assert.equal(slow.aborted, "");
  slow.read(45);
  assert.equal(budget.queuedBytes, 0);
});

Deno.test("those for whom nothing waits are not kept", () => {
  const budget = new SendBudget(100);
  const gone = new Peer(budget);
  gone.queue(10);
  gone.read(10);
  Object.defineProperty(gone, "queuedBytes", { get: () => assert.fail("it was asked") });
  const other = new Peer(budget);
  other.queue(200);
  assert.notEqual(other.aborted, "");
});
