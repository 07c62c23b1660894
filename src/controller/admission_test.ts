import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { Admission, DEFAULT_USER_LIMITS, type UserLimits } from "./admission.ts";
import { Cluster, type Outcome, outcome, refusal, status } from "./test_rig.ts";
import { Client } from "../client/client.ts";
import type { Model } from "../client/model.ts";

function admission(limits: Partial<UserLimits>, named: [number, Partial<UserLimits>][] = []) {
  const others = { ...DEFAULT_USER_LIMITS, ...limits };
  return new Admission({
    others,
    named: new Map(named.map(([id, own]) => [id, { ...others, ...own }])),
  });
}

Deno.test("a user's rate is a token bucket: a burst, then so many a second", () => {
  const users = admission({ ratePerSecond: 100, burst: 5 });
  const take = (user: number, atNs: number) =>
    users.admit(user, atNs, 1, 100 * MS, 1) === null && (users.answered(user, 1), true);
  const atOnce = Array.from({ length: 7 }, () => take(1, 0));
  assert.deepEqual(atOnce, [true, true, true, true, true, false, false]);
  assert.equal(take(1, 9 * MS), false);
  assert.equal(take(1, 10 * MS), true);
  assert.equal(take(1, 10 * MS), false);
  assert.equal(take(2, 10 * MS), true, "others have buckets of their own");
  let taken = 0;
  for (let ns = 10 * MS; ns < 2010 * MS; ns += MS) if (take(1, ns)) taken++;
  assert.ok(taken >= 199 && taken <= 200, `${taken}`);
  assert.match(users.admit(1, 2010 * MS - 1, 1, MS, 1)!, /user 1 asks for more than its 100/);
});

Deno.test("users have limits of their own on what waits", () => {
  const users = admission({ maxRequests: 2 }, [[7, { maxRequests: 1 }]]);
  const take = (user: number) => users.admit(user, 0, 1, SECOND, 1);
  assert.deepEqual([take(1), take(1), take(7)], [null, null, null]);
  assert.match(take(1)!, /^2 requests of user 1 are waiting, its limit/);
  assert.match(take(7)!, /^1 requests of user 7 are waiting, its limit/);
  users.answered(1, 1);
  assert.equal(take(1), null);
});

Deno.test("who competes may have its share waiting, by weight; who is alone, anything", () => {
  const users = admission({}, [[3, { weight: 3 }]]);
  const fill = (user: number, nowNs: number) => {
    let taken = 0;
    while (taken < 1000 && users.admit(user, nowNs, MS, 100 * MS, 2) === null) taken++;
    return taken;
  };
  assert.equal(fill(1, 0), 1000, "alone");
  for (let i = 0; i < 1000; i++) users.answered(1, MS);
  // Of 100 ms on two GPUs, 120 requests of 1 ms may wait.
  assert.equal(users.admit(3, 1, MS, 100 * MS, 2), null);
  assert.equal(fill(1, 1), 119, "what nobody else wants");
  assert.equal(fill(3, 1), 89, "three quarters, although the others fill all there was");
  for (let i = 0; i < 100; i++) users.answered(1, MS);
  assert.equal(fill(1, 1), 11, "back to its quarter");
});

Deno.test("quiet users are forgotten, however many there were", () => {
  const users = admission({ ratePerSecond: 1, burst: 10 });
  for (let id = 0; id < 200_000; id++) {
    assert.equal(users.admit(id, id, 1, SECOND, 1), null);
    users.answered(id, 1);
  }
  // After a minute it is alone, and may have anything waiting that its rate permits.
  const laterNs = 200 * SECOND;
  for (let i = 0; i < 70_000; i++) users.admit(5, laterNs, SECOND, SECOND, 1);
  assert.equal(users.admit(5, laterNs + SECOND, SECOND, SECOND, 1), null);
});

Deno.test("a user is forgotten neither while it waits for answers nor while it has used up its rate", () => {
  const users = admission({}, [[2, { ratePerSecond: 0.01, burst: 3 }]]);
  const ask = (user: number, nowNs: number) => users.admit(user, nowNs, MS, 100 * MS, 1);
  assert.equal(ask(1, 0), null);
  for (let i = 0; i < 3; i++) {
    assert.equal(ask(2, 0), null);
    users.answered(2, MS);
  }
  for (let s = 1; s < 120; s++) {
    assert.equal(ask(3, s * SECOND), null);
    users.answered(3, MS);
  }
  // It has got one back since, and would have three if it were new.
  assert.equal(ask(2, 120 * SECOND), null);
  assert.match(ask(2, 120 * SECOND)!, /more than its 0.01 requests a second/);
  users.answered(1, MS);
  users.answered(2, MS);
});

Deno.test("who asks all the time does not keep others from being forgotten, and is alone then", () => {
  const users = admission({});
  const ask = (user: number, atS: number) => users.admit(user, atS * SECOND, MS, 100 * MS, 1);
  ask(1, 0);
  ask(2, 0);
  users.answered(2, MS);
  for (let s = 1; s < 70; s++) {
    assert.equal(ask(1, s), null);
    users.answered(1, MS);
  }
  for (let i = 0; i < 100; i++) assert.equal(ask(1, 70), null);
});

Deno.test("who has nothing waiting is not refused, whatever others have", () => {
  const users = admission({});
  for (let i = 0; i < 100; i++) users.admit(1, 0, MS, 100 * MS, 1);
  // It takes more of the time that it has than is left to competing users.
  assert.equal(users.admit(2, 0, 9 * MS, 10 * MS, 1), null);
  assert.match(users.admit(2, 0, 9 * MS, 10 * MS, 1)!, /user 2 has its share of the GPUs/);
});

/** One user asks for three times what the GPU can do, another for little; how many of its are good. */
function compete(greedyUser: number, modestUser: number) {
  const cluster = new Cluster();
  cluster.addWorker();
  const greedy = cluster.addClient({ userId: greedyUser }).client;
  const modest = cluster.addClient({ userId: modestUser }).client;
  const models = cluster.serve(greedy, "2/a", "2/b", "2/c", "2/d");
  const all = new Map<Client, Outcome<Uint8Array>[]>([[greedy, []], [modest, []]]);
  const ask = (client: Client, model: Model, everyNs: number, count: number) => {
    for (let i = 0; i < count; i++) {
      cluster.clock.at(cluster.clock.now() + i * everyNs, () => {
        // Less what the network takes, 50 ms: whole batches go into that.
        all.get(client)!.push(cluster.infer(client, model, { deadlineNs: 50.1 * MS }));
      });
    }
  };
  // A GPU does at most 667 of these a second, in batches of four.
  for (const model of models.slice(0, 3)) ask(greedy, model, 1.5 * MS, 4000);
  ask(modest, models[3]!, 20 * MS, 300);
  cluster.run(8 * SECOND);
  const good = (client: Client) => all.get(client)!.filter((one) => status(one) === 0).length;
  const late = cluster.requests.filter((r) => r.status === 0 && r.departureNs > r.deadlineNs);
  return { greedy: good(greedy), modest: good(modest), late: late.length };
}

Deno.test("a user over its share does not push another's requests past their deadlines", () => {
  const alike = compete(1, 1);
  const apart = compete(1, 2);
  // The very first finds its model's weights on no GPU.
  assert.ok(apart.modest >= 297, `${apart.modest} of 300`);
  assert.ok(
    alike.modest < 30,
    `as one user, ${alike.modest} of 300: this test would show nothing`,
  );
  // What the other runs, one by one as they come, takes 15 % of the GPU.
  assert.ok(apart.greedy > 0.75 * alike.greedy, `${apart.greedy} against ${alike.greedy}`);
  assert.equal(apart.late, 0);
});

Deno.test("what a user is refused is answered with a status of its own and the reason", () => {
  const others = { ...DEFAULT_USER_LIMITS, ratePerSecond: 10, burst: 1 };
  const cluster = new Cluster({ users: { others, named: new Map() } });
  cluster.addWorker();
  const { client } = cluster.addClient({ userId: 9 });
  const [model] = cluster.serve(client, "2/a");
  const taken = cluster.infer(client, model!);
  const refused = outcome<Uint8Array>((done) => client.infer(model!, [], {}, done));
  cluster.run();
  assert.equal(status(taken), 0);
  assert.equal(refusal(refused), "9 user 9 asks for more than its 10 requests a second");
});

Deno.test("shares are of the GPUs that there are now", () => {
  const cluster = new Cluster();
  const first = cluster.addWorker({ gpus: 3 });
  const { client } = cluster.addClient();
  cluster.serve(client, "2/a");
  let id = 0;
  /** How many requests of 3 ms may wait for 100 ms at once, while another user has one waiting. */
  const taken = () => {
    const [greedy, modest] = [cluster.addRawClient(), cluster.addRawClient()];
    modest.infer(id++, { user_id: 1 });
    const from = id;
    while (id < from + 200) greedy.infer(id++, { user_id: 2 });
    cluster.run();
    return greedy.received.filter(({ kind, header }) =>
      kind !== "ErrorResponse" || header.status !== 9
    ).length;
  };
  // Of 0.6 × 100 ms of each GPU, half is its share; the other has taken 3 ms.
  assert.equal(taken(), 59);
  const second = cluster.addWorker({ gpus: 1 });
  cluster.run();
  assert.equal(taken(), 79);
  first.link.cut();
  cluster.run();
  assert.equal(taken(), 19);
  second.link.cut();
});
