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
  const { clock, peer, infer, load } = connected();
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
  assert.deepEqual(results.map(({ id }) => id), [0, 1, 2, 3, 4, 5]);
  for (const result of results) {
    assert.ok(result.kind === "ErrorResult");
    assert.equal(result.header.status, 1);
    assert.equal(result.header.message, "the worker was lost: connection lost");
  }
});
