/** How actions travel to a worker: not too many at a time, not too late, and what that tells. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { connectInMemory, type MemoryLinkOptions } from "../wire/memory_link.ts";
import { offsetClock, ScriptedWorker } from "./test_rig.ts";
import { type Result, WorkerPeer } from "./worker_peer.ts";

const MB = 1_000_000;

/** A peer whose worker gets inferences over a network of 100 MB/s, and runs each in 3 ms. */
function connected(options: MemoryLinkOptions = { latencyNs: MS, bytesPerSecond: 100 * MB }) {
  const clock = new VirtualClock(5 * SECOND);
  const arrivals: [kind: string, atMs: number][] = [];
  const workerClock = offsetClock(clock, 777 * SECOND);
  const worker = new ScriptedWorker(workerClock, ({ kind }) => {
    arrivals.push([kind, Math.round((clock.now() - 5 * SECOND) / MS)]);
    return false;
  });
  let peer!: WorkerPeer;
  let nextId = 0;
  const lost: string[] = [];
  const [link] = connectInMemory(
    {
      name: "controller",
      clock,
      accept: (link) =>
        peer = new WorkerPeer(3, link, clock, () => nextId++, (_, why) => lost.push(why)),
    },
    { name: "worker", clock: workerClock, accept: worker.accept },
    options,
  );
  const results: Result[] = [];
  const onResult = (result: Result) => results.push(result);
  const infer = (bytes: number, latestNs = Number.MAX_SAFE_INTEGER) => {
    const window = { earliest_ns: 0, latest_ns: latestNs, expected_duration_ns: 0 };
    const header = { model_id: 0, gpu_id: 0, batch_size: 1, input_sizes: [bytes], ...window };
    const before = results.length;
    const id = peer.sendInfer(header, [new Uint8Array(bytes)], onResult);
    assert.equal(results.length, before, "no result before the call has returned");
    return id;
  };
  const load = () =>
    peer.send("LoadWeights", {
      model_id: 0,
      gpu_id: 0,
      earliest_ns: 0,
      latest_ns: Number.MAX_SAFE_INTEGER,
      expected_duration_ns: 0,
    }, onResult);
  return { clock, peer, link, worker, arrivals, results, lost, infer, load };
}

Deno.test("two inputs at a time are on their way, so that what comes after waits for two at most", () => {
  const { clock, arrivals, infer, load } = connected();
  // Each takes 10 ms.
  for (let i = 0; i < 4; i++) infer(MB);
  load();
  clock.advance(SECOND);
  assert.deepEqual(arrivals, [
    ["Infer", 11],
    ["Infer", 21],
    ["LoadWeights", 21],
    ["Infer", 31],
    ["Infer", 41],
  ]);
});

Deno.test("inferences without inputs do not wait for those with", () => {
  const { clock, arrivals, infer } = connected();
  for (let i = 0; i < 4; i++) infer(MB);
  infer(0);
  clock.advance(25 * MS);
  assert.deepEqual(arrivals, [["Infer", 11], ["Infer", 21], ["Infer", 21]]);
});

Deno.test("an input that can no longer arrive in time is not sent, and ends with status 45", () => {
  const { clock, arrivals, results, infer } = connected();
  const nowNs = clock.now();
  infer(MB, nowNs - 1);
  clock.advance(0);
  assert.equal(results.length, 1);
  const [result] = results;
  assert.ok(result!.kind === "ErrorResult");
  assert.deepEqual([result!.id, result!.header.action_type, result!.header.status], [0, 2, 45]);
  assert.notEqual(result!.header.message, "");
  // Of these, the first two are on the way at once; the third would begin its journey too late.
  const ids = [infer(MB), infer(MB), infer(MB, nowNs + 5 * MS), infer(MB)];
  clock.advance(SECOND);
  assert.equal(arrivals.length, 3);
  const failed = results.slice(1).filter(({ kind }) => kind === "ErrorResult");
  assert.deepEqual(failed.map(({ id }) => id), [ids[2]]);
});

Deno.test("how long inputs take is measured", () => {
  const { clock, peer, results, infer, load } = connected();
  // Until then: half a millisecond, and 1 GB/s.
  assert.equal(peer.transferNs(MB), 1.5 * MS);
  for (let i = 0; i < 100; i++) {
    // Small messages, such as a real link's pings, tell the latency apart from the bandwidth.
    load();
    infer(MB);
    clock.advance(100 * MS);
  }
  assert.ok(Math.abs(peer.transferNs(MB) - 11 * MS) < 0.1 * MS, `${peer.transferNs(MB)}`);
  assert.ok(Math.abs(peer.transferNs(0) - MS) < 0.1 * MS, `${peer.transferNs(0)}`);
  results.length = 0;
  infer(MB, clock.now() + 9 * MS);
  clock.advance(100 * MS);
  assert.equal(results[0]!.kind, "ErrorResult", "it cannot be there in 9 ms");
  // Wakes and queues take that long, however near the worker.
  assert.equal(connected({ latencyNs: 1000 }).peer.transferNs(0), 0.5 * MS);
  const near = connected({ latencyNs: 1000 });
  near.load();
  near.clock.advance(SECOND);
  assert.equal(near.peer.transferNs(0), 0.05 * MS);
});

Deno.test("a bandwidth by which no input is sent any more is doubted, and the next one measured counts", () => {
  /** One whose last input took 5 s, by which each would take half a second. */
  const stalled = () => {
    let delayNs = 0;
    const network = { latencyNs: MS, bytesPerSecond: 100 * MB, extraDelayNs: () => delayNs };
    const { clock, peer, infer, load } = connected(network);
    const send = (extraNs: number, bytes = MB) => {
      load();
      clock.advance(SECOND);
      delayNs = extraNs;
      infer(bytes);
      delayNs = 0;
    };
    const sendOne = (extraNs = 0) => {
      send(extraNs);
      clock.advance(10 * SECOND);
    };
    for (let i = 0; i < 100; i++) sendOne();
    sendOne(5 * SECOND);
    const ask = (forNs: number, bytes = MB) => {
      const untilNs = clock.now() + forNs;
      for (; clock.now() < untilNs; clock.advance(10 * MS)) peer.transferNs(bytes);
      return Math.round(peer.transferNs(MB) / MS);
    };
    return { clock, send, sendOne, ask };
  };
  const asked = stalled();
  assert.equal(asked.ask(90 * MS), 511);
  assert.equal(asked.ask(50 * MS), 256);
  assert.equal(asked.ask(2 * SECOND), 2, "a gigabyte a second, as before the first was measured");
  asked.sendOne();
  assert.equal(asked.ask(0), 11);
  asked.sendOne();
  asked.sendOne(SECOND);
  assert.equal(asked.ask(0), 111, "a tenth, as ever");

  const idle = stalled();
  idle.clock.advance(3600 * SECOND);
  assert.equal(idle.ask(0), 511, "nobody wanted to send");
  const small = stalled();
  small.send(5 * SECOND, 1000);
  small.clock.advance(10 * SECOND);
  assert.equal(
    small.ask(SECOND, 100),
    511,
    "inputs so small tell nothing, and are sent all the same",
  );
  const busy = stalled();
  busy.send(SECOND);
  assert.equal(busy.ask(900 * MS), 511, "what is under way will tell");
});

Deno.test("an input took no longer than until its result came, whatever the worker says", () => {
  const { clock, peer, infer, load } = connected();
  load();
  clock.advance(SECOND);
  const before = peer.transferNs(MB);
  const fail = (action_received_ns: number) => {
    const id = infer(MB);
    clock.advance(5 * MS);
    const times = { action_received_ns, result_sent_ns: action_received_ns };
    const header = { ...times, action_type: 2, status: 11, message: "busy" };
    peer.onMessage({ kind: "ErrorResult", id, header, payload: new Uint8Array(0) });
  };
  fail(Number.MAX_SAFE_INTEGER);
  assert.ok(peer.transferNs(MB) < before + MS, `${peer.transferNs(MB)}`);
  fail(0);
  assert.ok(peer.transferNs(MB) > 0.8 * before, `${peer.transferNs(MB)}`);
});

Deno.test("what is no result does not end an action", () => {
  const { clock, peer, results, load } = connected();
  const id = load();
  peer.onMessage({ kind: "GetWorkerState", id, header: {}, payload: new Uint8Array(0) });
  assert.equal(results.length, 0);
  clock.advance(SECOND);
  assert.equal(results.length, 1);
});

Deno.test("when the worker is lost, everything under way or waiting ends with status 1, once", () => {
  const { clock, peer, link, results, lost, infer, load } = connected();
  for (let i = 0; i < 5; i++) infer(MB);
  load();
  assert.equal(peer.outstanding, 6);
  clock.advance(12 * MS);
  assert.equal(results.length, 0);
  link.cut();
  clock.advance(SECOND);
  assert.deepEqual(lost, ["connection lost"]);
  assert.ok(peer.lost);
  assert.equal(peer.outstanding, 0);
  // The same goes for what comes too late.
  const late = [load(), infer(MB)];
  clock.advance(SECOND);
  assert.deepEqual(results.map(({ id }) => id), [0, 1, 2, 3, 4, 5, ...late]);
  for (const result of results) {
    assert.ok(result.kind === "ErrorResult");
    assert.equal(result.header.status, 1);
    assert.match(
      result.header.message,
      late.includes(result.id) ? /was lost$/ : /: connection lost$/,
    );
  }
});
