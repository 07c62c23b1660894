import assert from "node:assert/strict";
import { RequestStatus } from "../../core/status.ts";
import { type Outcome, RequestKeys } from "./request_keys.ts";

/** A request that is under way: ended by calling what it was given. */
function rig() {
  const keys = new RequestKeys<number>();
  const performed: ((outcome: Outcome<number>) => void)[] = [];
  const ask = (key: string, asked = "") => {
    const settled: Outcome<number>[] = [];
    keys.once(key, asked, (done) => performed.push(done), (outcome) => settled.push(outcome));
    return settled;
  };
  return { keys, performed, ask };
}

const refused: Outcome<number> = { status: RequestStatus.error, message: "no" };

Deno.test("a repeat joins what is under way, and later gets the same answer", () => {
  const { performed, ask } = rig();
  const first = ask("k");
  const second = ask("k");
  assert.equal(performed.length, 1);
  assert.deepEqual([first, second], [[], []]);
  performed[0]!({ answer: 7 });
  assert.deepEqual([first, second, ask("k")], new Array(3).fill([{ answer: 7 }]));
  assert.equal(performed.length, 1);
});

Deno.test("without a key everything is done", () => {
  const { performed, ask } = rig();
  ask("");
  ask("");
  assert.equal(performed.length, 2);
});

Deno.test("a failure is told to all who wait, and tried again by a repeat", () => {
  const { performed, ask } = rig();
  const both = [ask("k"), ask("k")];
  performed[0]!(refused);
  assert.deepEqual(both, [[refused], [refused]]);
  ask("k");
  assert.equal(performed.length, 2);
});

Deno.test("a key is for one request", () => {
  const { performed, ask } = rig();
  ask("k", "a");
  assert.match(JSON.stringify(ask("k", "b")), /its key was used for another request/);
  performed[0]!({ answer: 1 });
  assert.match(JSON.stringify(ask("k", "b")), /its key was used for another request/);
  assert.equal(performed.length, 1);
});

Deno.test("the last 10 000 answers are remembered, whatever is under way, also by a successor", () => {
  const { keys, performed, ask } = rig();
  const slow = ask("slow");
  for (let i = 0; i < 10_001; i++) {
    ask(`${i}`);
    performed.at(-1)!({ answer: i });
  }
  const remembered = [...keys.remembered()];
  assert.equal(remembered.length, 10_000);
  assert.deepEqual(remembered[0], { key: "1", asked: "", answer: 1 });
  performed[0]!({ answer: -1 });
  assert.deepEqual(slow, [{ answer: -1 }]);
  const later = rig();
  later.keys.restore(keys.remembered());
  assert.deepEqual(later.ask("slow"), [{ answer: -1 }]);
  assert.deepEqual(later.ask("10000"), [{ answer: 10_000 }]);
  later.ask("1");
  assert.equal(later.performed.length, 1, "the oldest made room for the slow one");
});
