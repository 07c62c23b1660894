/** What a controller that serves answers: to requests of all kinds, and whatever becomes of the others. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Model, NO_INPUT } from "../client/model.ts";
import { type Clock, MS, SECOND, US } from "../core/clock.ts";
import { Random } from "../core/random.ts";
import { Direct } from "../scheduler/direct.ts";
import { Echo } from "../scheduler/echo.ts";
import { Infer4 } from "../scheduler/infer4/infer4.ts";
import type { SchedulerHost } from "../scheduler/scheduler.ts";
import { Stress } from "../scheduler/stress.ts";
import type { PendingRequest } from "./serving.ts";
import { makeModel, OUTPUT_BYTES } from "../worker/test_rig.ts";
import {
  type Answer,
  Cluster,
  type Outcome,
  outcome,
  refusal,
  ScriptedWorker,
  status,
  value,
} from "./test_rig.ts";

/** One worker, one client, one model of two pages: 10 ms to load, 3 ms to run. */
function oneOfEach(options: ConstructorParameters<typeof Cluster>[0] = {}) {
  const cluster = new Cluster(options);
  const worker = cluster.addWorker();
  const { client, link } = cluster.addClient();
  const [model] = cluster.serve(client, "2/m");
  return { cluster, worker, client, link, model: model! };
}

Deno.test("an inference is answered with the model's output", () => {
  const { cluster, client, model } = oneOfEach();
  const inferred = cluster.infer(client, model);
  cluster.run();
  assert.equal(value(inferred).length, OUTPUT_BYTES);
  assert.equal(cluster.requests.length, 1);
});

Deno.test("requests that cannot be right are answered with status 6 and what is wrong", () => {
  const { cluster, client } = oneOfEach();
  const raw = cluster.addRawClient();
  // One model is loaded: its id is 0, and 1 the first that is not there.
  raw.infer(1, { model_id: 1 });
  raw.infer(2, { model_id: 0xffff_ffff });
  raw.infer(3, { batch_size: 2 }, new Uint8Array(24));
  raw.infer(4, { batch_size: 0 });
  raw.infer(5, {}, new Uint8Array(11));
  raw.infer(6, {}, new Uint8Array(13));
  raw.link.send("EvictRequest", 7, { user_id: 0, model_id: 0 });
  raw.infer(8, {}, new Uint8Array(0));
  raw.infer(9);
  cluster.run();
  const unknown = (id: number) =>
    `6 unknown model ${id}: load it first, or list the models with LS`;
  const batch = (size: number) =>
    `6 batch_size must be 1, got ${size}: the controller forms batches itself`;
  const size = (bytes: number) => `6 model 0 takes 12 bytes of input, got ${bytes}`;
  assert.deepEqual([1, 2, 3, 4, 5, 6].map((id) => raw.answer(id)), [
    unknown(1),
    unknown(0xffff_ffff),
    batch(2),
    batch(0),
    size(11),
    size(13),
  ]);
  assert.match(raw.answer(7), /^6 .*cannot be evicted by request/);
  assert.deepEqual([raw.answer(8), raw.answer(9)], ["0", "0"]);
  const [model] = cluster.load(client, "1/more");
  assert.equal(model!.id, 1);
});

Deno.test("requests with and without inputs may come together", () => {
  const { cluster } = oneOfEach();
  const raw = cluster.addRawClient();
  for (let id = 0; id < 12; id++) raw.infer(id, {}, new Uint8Array(id % 3 === 0 ? 0 : 12));
  cluster.run();
  for (let id = 0; id < 12; id++) assert.equal(raw.answer(id), "0");
  assert.ok(cluster.actions.some(({ action }) => action.type === "Infer" && action.batchSize > 1));
});

Deno.test("slo_factor wins over deadline, and deadline over the default; no request may wait a day", () => {
  const { cluster } = oneOfEach({ defaultSloNs: 70 * MS });
  const raw = cluster.addRawClient();
  const cases: [slo_factor: number, deadline_ns: number, allowedNs: number][] = [
    [0, 0, 70 * MS],
    [0, 50 * MS, 50 * MS],
    [20, 50 * MS, 60 * MS],
    [20, 0, 60 * MS],
    [0.001, 0, 3 * US],
    [1e300, 0, 24 * 3600 * SECOND],
    [Number.MAX_VALUE, 0, 24 * 3600 * SECOND],
    [0, 1e300, 24 * 3600 * SECOND],
  ];
  for (const [i, [slo_factor, deadline_ns, allowedNs]] of cases.entries()) {
    raw.infer(i, { slo_factor, deadline_ns });
    cluster.run();
    const record = cluster.requests.at(-1)!;
    assert.equal(cluster.requests.length, i + 1);
    assert.equal(record.deadlineNs - record.arrivalNs, allowedNs);
    assert.equal(record.sloFactor, slo_factor);
    assert.equal(record.status, allowedNs > 10 * MS ? 0 : 8, `case ${i}`);
    assert.equal(raw.answer(i).split(" ")[0], `${record.status}`);
  }
});

Deno.test("requests with hardly any time, or none, are refused at once, and the others are served", () => {
  const { cluster, client, model } = oneOfEach();
  // Loads the weights.
  assert.equal(status(run(cluster, cluster.infer(client, model))), 0);
  for (const deadlineNs of [Number.MIN_VALUE, 1, US, MS, 2.9 * MS]) {
    const hopeless = Array.from({ length: 20 }, () => cluster.infer(client, model, { deadlineNs }));
    const fine = cluster.infer(client, model);
    cluster.run(MS);
    for (const outcome of hopeless) {
      assert.match(refusal(outcome), /^8 it would be \d+\.\d ms late$/);
    }
    assert.equal(status(run(cluster, fine)), 0);
  }
});

Deno.test("a request that is answered late does not count as a success", () => {
  const cluster = new Cluster();
  const worker = new ScriptedWorker(cluster.clock, (action, answer) => {
    if (action.kind !== "Infer") return false;
    // It reports the time in which it should have run; the result comes after the deadline.
    worker.after(150 * MS, () => worker.finish(action, answer, 3 * MS));
    return true;
  });
  cluster.connectWorker(worker.accept);
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "m");
  const inferred = cluster.infer(client, model!);
  cluster.run(10 * SECOND);
  assert.equal(status(inferred), 0);
  const summary = cluster.lines.find((line) => line.startsWith("Client throughput"));
  assert.match(summary!, /^Client throughput=0\.1 success=0\.00% min=16\d\.\d max=16\d/);
  const infer = cluster.actions.find(({ action }) => action.type === "Infer");
  assert.equal(infer!.goodput, 0);
});

Deno.test("more requests than the limit allows are refused, and count as failures", () => {
  const { cluster, client, model } = oneOfEach({ maxRequests: 5 });
  const inferred = Array.from({ length: 8 }, () => cluster.infer(client, model));
  cluster.run(5 * MS);
  assert.equal(inferred.filter(({ result }) => result === null).length, 5);
  const refused = inferred.filter(({ result }) => result !== null).map(refusal);
  assert.deepEqual(
    refused,
    new Array(3).fill("9 5 requests are waiting, the limit of this controller: try again later"),
  );
  cluster.run();
  assert.equal(inferred.filter((outcome) => status(outcome) === 0).length, 5);
  assert.equal(status(run(cluster, cluster.infer(client, model))), 0);
  cluster.run(10 * SECOND);
  const summary = cluster.lines.find((line) => line.startsWith("Client throughput"));
  assert.match(summary!, /success=66\.67%/);
});

Deno.test("inputs that wait take no more memory than the limit; requests without inputs are served", () => {
  const { cluster, client, model } = oneOfEach({ maxInputBytes: 36 });
  assert.equal(model.inputBytes, 12);
  const inferred = Array.from({ length: 5 }, () => cluster.infer(client, model));
  const without = outcome<Uint8Array>((done) => client.infer(model, NO_INPUT, {}, done));
  cluster.run(5 * MS);
  const refused = inferred.filter(({ result }) => result !== null).map(refusal);
  assert.deepEqual(
    refused,
    new Array(2).fill(
      "9 the inputs of waiting requests take 36 bytes, the limit of this controller: try again " +
        "later, or raise --max-inputs",
    ),
  );
  cluster.run();
  assert.equal(inferred.filter((outcome) => status(outcome) === 0).length, 3);
  assert.equal(status(without), 0);
  // Their memory counts no more: as many are taken as before.
  const again = Array.from({ length: 3 }, () => cluster.infer(client, model));
  cluster.run();
  assert.deepEqual(again.map(status), [0, 0, 0]);
});

Deno.test("models can be loaded while others are served, and failing to harms nothing", () => {
  const { cluster, client, model } = oneOfEach();
  const running = closedLoop(cluster, client, [model], 2);
  cluster.run(100 * MS);
  const bad = outcome((done) => client.loadModel("nowhere", 3, done));
  cluster.run(100 * MS);
  assert.equal(refusal(bad), "1 worker 0: no model at nowhere");
  const more = cluster.load(client, "1/more", 2);
  assert.deepEqual(
    [...value(run(cluster, outcome<readonly Model[]>((done) => client.ls(done))))],
    [model, ...more],
  );
  const inferred = more.map((model) => cluster.infer(client, model));
  cluster.run(200 * MS);
  assert.deepEqual(inferred.map(status), [0, 0]);
  running.stop();
  cluster.run();
  assert.ok(running.outcomes.length > 100);
  assert.deepEqual(new Set(running.outcomes.map(status)), new Set([0]));
});

Deno.test("a client that goes away with requests in flight harms nobody", () => {
  for (const how of ["cut", "close"] as const) {
    const { cluster, client, model } = oneOfEach();
    const leaving = cluster.addClient();
    const loops = [closedLoop(cluster, client, [model], 2)];
    const lost = closedLoop(cluster, leaving.client, [model], 4);
    // Also in the midst of a load.
    const loading = outcome((done) => leaving.client.loadModel("1/late", 1, done));
    cluster.run(51 * MS);
    lost.stop();
    if (how === "cut") leaving.link.cut();
    else leaving.client.close();
    cluster.run();
    loops[0]!.stop();
    cluster.run();
    assert.equal(status(loading), 0);
    assert.deepEqual(new Set(loops[0]!.outcomes.map(status)), new Set([0]));
    assert.ok(loops[0]!.outcomes.length > 300);
    assert.equal(lost.outcomes.filter(({ result }) => result === null).length, 0);
    assert.equal(lost.outcomes.filter(({ result }) => result?.ok === false).length, 4);
    assert.ok(cluster.lines.some((line) => line.startsWith("Client client left: ")));
    const total = cluster.requests.length;
    assert.equal(new Set(cluster.requests.map(({ requestId }) => requestId)).size, total);
  }
});

Deno.test("a load whose client has left goes on, for the others", () => {
  const cluster = new Cluster();
  const worker = new ScriptedWorker(cluster.clock, (action, answer) => {
    if (action.kind !== "LoadModelFromDisk") return false;
    worker.after(50 * MS, () => worker.behave(action, answer));
    return true;
  });
  cluster.connectWorker(worker.accept);
  const { client } = cluster.addClient();
  const leaving = cluster.addClient();
  cluster.controller.start();
  cluster.run(10 * MS);
  const loading = outcome((done) => leaving.client.loadModel("m", 1, done));
  cluster.run(20 * MS);
  leaving.link.cut();
  cluster.run(2 * SECOND);
  assert.match(refusal(loading), /^256 the connection to controller was lost/);
  const models = value(run(cluster, outcome<readonly Model[]>((done) => client.ls(done))));
  assert.equal(models.length, 1);
  assert.equal(status(run(cluster, cluster.infer(client, models[0]!))), 0);
});

Deno.test("what a lost worker ran is answered once; the other workers go on", () => {
  for (let cutMs = 0; cutMs < 12; cutMs++) {
    const cluster = new Cluster();
    // Several GPUs: what one of a lost worker's ran must not be given to the next of them.
    const lost = cluster.addWorker({ gpus: 3 });
    cluster.addWorker({ gpus: 1 });
    const { client } = cluster.addClient();
    const models = cluster.serve(client, "2/a", "2/b", "2/c", "2/d");
    const loop = closedLoop(cluster, client, models, 40);
    cluster.run((100 + cutMs) * MS + 300 * US);
    lost.link.cut();
    const before = loop.outcomes.length;
    cluster.run(500 * MS);
    loop.stop();
    cluster.run();
    // `closedLoop` fails on a request that settles twice.
    assert.ok(loop.outcomes.every(({ result }) => result !== null));
    const later = loop.outcomes.slice(before);
    assert.ok(later.length > 100 && later.every((outcome) => status(outcome) === 0));
    assert.ok(cluster.lines.includes("Worker 0 (worker) lost: connection lost"));
    assert.equal(cluster.requests.length, loop.outcomes.length);
    for (const { result } of loop.outcomes) if (!result!.ok) assert.notEqual(result!.message, "");
  }
});

Deno.test("when the last worker is lost, requests and loads say so", () => {
  const { cluster, worker, client, model } = oneOfEach();
  const loop = closedLoop(cluster, client, [model], 3);
  cluster.run(100 * MS);
  loop.stop();
  worker.link.cut();
  cluster.run();
  const lost = loop.outcomes.filter(({ result }) => !result!.ok).map(refusal);
  assert.deepEqual(lost, new Array(3).fill("1 the worker was lost while it ran the request"));
  const inferred = run(cluster, cluster.infer(client, model));
  assert.equal(refusal(inferred), "10 no worker is connected: try again later");
  const loaded = run(cluster, outcome((done) => client.loadModel("1/m", 1, done)));
  assert.equal(refusal(loaded), "10 no worker is connected");
  assert.ok(
    cluster.lines.includes(
      "No worker is connected any more: requests are refused until one is back",
    ),
  );
});

Deno.test("a controller that closes answers what waits and what runs, and lets all sides know", () => {
  const { cluster, worker, client, model } = oneOfEach();
  const raw = cluster.addRawClient();
  for (let id = 0; id < 20; id++) raw.infer(id);
  cluster.run(15 * MS);
  assert.ok(raw.received.length < 20, "some wait, or run");
  const loop = closedLoop(cluster, client, [model], 2);
  loop.stop();
  cluster.controller.close("maintenance");
  const { length } = cluster.lines;
  cluster.run();
  for (let id = 0; id < 20; id++) assert.match(raw.answer(id), /^0$|^10? maintenance$/);
  assert.ok(raw.received.some(({ kind }) => kind === "ErrorResponse"));
  assert.equal(raw.closed, "the peer closed: maintenance");
  // These arrived after it had closed.
  for (const outcome of loop.outcomes) assert.match(refusal(outcome), /maintenance/);
  assert.deepEqual(
    worker.lines.at(-1),
    "Controller controller is gone: the peer closed: maintenance",
  );
  assert.equal(cluster.controller.openLinks, 0);
  assert.equal(cluster.lines.length, length, "nothing is printed after the end");
});

Deno.test("results that make no sense are failures, and neither crash nor blind the controller", () => {
  const output = new Uint8Array(OUTPUT_BYTES);
  type Script = (worker: ScriptedWorker, answer: Answer) => void;
  const inferred = (worker: ScriptedWorker, ns = 3e6) => worker.inferred(ns);
  const sizes: [string, readonly number[], number][] = [
    ["none", [], 0],
    ["two", [OUTPUT_BYTES, OUTPUT_BYTES], 2 * OUTPUT_BYTES],
    ["short", [OUTPUT_BYTES - 1], OUTPUT_BYTES - 1],
    ["long", [OUTPUT_BYTES + 1], OUTPUT_BYTES + 1],
    ["lying", [OUTPUT_BYTES], OUTPUT_BYTES - 1],
    ["rest", [OUTPUT_BYTES], OUTPUT_BYTES + 1],
  ];
  const times: [string, number, number][] = [
    ["backwards", 5e6, 2e6],
    ["long ago", -9e15, 0],
    ["endless", 0, 9e15],
  ];
  const scripts: [string, Script, RegExp][] = [
    [
      "LoadWeightsResult",
      (worker, answer) => answer("LoadWeightsResult", worker.took(3e6)),
      /by L/,
    ],
    ["ClearCacheResult", (_, answer) => answer("ClearCacheResult", {}), /by ClearCacheResult/],
    [
      "error without an error",
      (_, answer) => answer("ErrorResult", { action_type: 2, status: 0, message: "fine" }),
      /^1 fine/,
    ],
    [
      "unknown status",
      (_, answer) => answer("ErrorResult", { action_type: 200, status: 255, message: "what" }),
      /^1 what/,
    ],
    ...sizes.map(([name, output_sizes, bytes]): [string, Script, RegExp] => [
      name,
      (worker, answer) =>
        answer("InferResult", { ...inferred(worker), output_sizes }, new Uint8Array(bytes)),
      /^1 the worker's outputs are not one of the model's size for each request/,
    ]),
    ...times.map(([name, begin_ns, end_ns]): [string, Script, RegExp] => [
      name,
      (worker, answer) => {
        const exec = { begin_ns, end_ns, duration_ns: end_ns - begin_ns };
        answer("InferResult", { ...inferred(worker), exec, output_sizes: [OUTPUT_BYTES] }, output);
      },
      /^1 the worker says it took -?\d+ ns, of the \d+ ns that passed/,
    ]),
  ];
  for (const [name, script, message] of scripts) {
    const cluster = new Cluster();
    let wrong = false;
    const worker = new ScriptedWorker(cluster.clock, (action, answer) => {
      if (action.kind !== "Infer" || !wrong) return false;
      worker.after(3 * MS, () => script(worker, answer));
      return true;
    });
    cluster.connectWorker(worker.accept);
    const { client } = cluster.addClient();
    const [model] = cluster.serve(client, "m");
    assert.equal(status(run(cluster, cluster.infer(client, model!))), 0, name);
    wrong = true;
    for (let i = 0; i < 12; i++) {
      const failed = cluster.infer(client, model!);
      cluster.run(200 * MS);
      assert.match(refusal(failed), message, name);
    }
    wrong = false;
    assert.equal(status(run(cluster, cluster.infer(client, model!))), 0, `after ${name}`);
  }
});

Deno.test("times in the future do not keep a GPU from being used", () => {
  const cluster = new Cluster();
  const worker = new ScriptedWorker(cluster.clock, (action, answer) => {
    if (action.kind !== "Infer") return false;
    worker.after(3 * MS, () => {
      const exec = { begin_ns: 9e15 - 3e6, end_ns: 9e15, duration_ns: 3e6 };
      const header = { ...worker.inferred(3e6), exec, output_sizes: [OUTPUT_BYTES] };
      answer("InferResult", header, new Uint8Array(OUTPUT_BYTES));
    });
    return true;
  });
  cluster.connectWorker(worker.accept);
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "m");
  for (let i = 0; i < 5; i++) {
    assert.equal(status(run(cluster, cluster.infer(client, model!), 50 * MS)), 0);
  }
  for (const { endNs, enqueuedNs } of cluster.actions) assert.ok(endNs <= enqueuedNs);
});

Deno.test("inputs are sent again soon after the network stood still for a moment", () => {
  const bytes = 602_112;
  const input = { name: "x", dtype: "float32", shape: [bytes / 4], batched: true, bytes } as const;
  let delayNs = 0;
  const cluster = new Cluster();
  cluster.addWorker({
    readModel: (path, gpus) => ({ ...makeModel(path, gpus), inputs: [input], inputBytes: bytes }),
    link: { latencyNs: 50 * US, bytesPerSecond: 1.25e9, extraDelayNs: () => delayNs },
  });
  const { client } = cluster.addClient();
  const [model] = cluster.serve(client, "2/m");
  const inferFor = (ms: number) => {
    const inferred: Outcome<Uint8Array>[] = [];
    for (let i = 0; i < ms; i += 10) {
      inferred.push(cluster.infer(client, model!, { deadlineNs: 100 * MS }));
      cluster.run(10 * MS);
    }
    cluster.run(200 * MS);
    return inferred.filter((one) => one.result?.ok).length;
  };
  assert.equal(inferFor(1000), 100);
  delayNs = SECOND;
  inferFor(10);
  delayNs = 0;
  inferFor(2000);
  assert.equal(inferFor(1000), 100);
});

Deno.test("results nobody asked for, and second ones, are ignored; loads and evictions may fail", () => {
  const cluster = new Cluster();
  let fails = 0;
  const worker = new ScriptedWorker(cluster.clock, (action, answer) => {
    const twice: Answer = (kind, header, payload) => {
      answer(kind, header, payload);
      answer(kind, header, payload);
      const times = { action_received_ns: 0, result_sent_ns: 0 };
      worker.link.send("LoadWeightsResult", 1e9, { ...worker.took(1), ...times });
      worker.link.send("ErrorResult", 2 ** 40, {
        action_type: 9,
        status: 9,
        message: "",
        ...times,
      });
    };
    if (action.kind === "LoadWeights" && fails++ < 2) {
      if (fails === 1) answer("EvictWeightsResult", worker.took(0));
      else answer("ErrorResult", { action_type: 1, status: 2, message: "out of luck" });
    } else if (action.kind === "EvictWeights") {
      answer("ErrorResult", { action_type: 3, status: 22, message: "in use" });
    } else worker.behave(action, twice);
    return true;
  });
  cluster.connectWorker(worker.accept);
  const { client } = cluster.addClient();
  // Six models of two pages share the ten pages of the GPU: there are evictions.
  const models = cluster.serve(client, "a", "b", "c", "d", "e", "f");
  const outcomes = Array.from({ length: 60 }, (_, i) => {
    const inferred = cluster.infer(client, models[i % models.length]!, { deadlineNs: SECOND });
    cluster.run(20 * MS);
    return inferred;
  });
  cluster.run(2 * SECOND);
  assert.ok(worker.actions.some(({ kind }) => kind === "EvictWeights"));
  assert.ok(outcomes.filter((outcome) => status(outcome) === 0).length > 30);
});

type Host = SchedulerHost<PendingRequest>;
const schedulers = {
  INFER4: (clock: Clock, host: Host) => new Infer4(clock, host),
  DIRECT: (clock: Clock, host: Host) => new Direct(clock, host),
  ECHO: (_: Clock, host: Host) => new Echo(host),
};

Deno.test("ECHO and DIRECT answer clients; STRESS keeps GPUs busy without any", () => {
  for (const name of ["ECHO", "DIRECT"] as const) {
    const cluster = new Cluster({}, schedulers[name]);
    const worker = cluster.addWorker({ gpus: 2 });
    const { client } = cluster.addClient();
    const models = cluster.serve(client, "2/a", "2/b");
    const outcomes = Array.from({ length: 20 }, (_, i) => cluster.infer(client, models[i % 2]!));
    cluster.run();
    for (const outcome of outcomes) assert.equal(value(outcome).length, OUTPUT_BYTES);
    assert.equal(cluster.requests.length, 20);
    assert.equal(cluster.actions.length > 0, name === "DIRECT");
    worker.link.cut();
    cluster.run();
    const inferred = run(cluster, cluster.infer(client, models[0]!));
    assert.equal(refusal(inferred), "10 no worker is connected: try again later");
  }
  const cluster = new Cluster(
    { preload: { path: "2/m", copies: 9 } },
    (clock, host) => new Stress(clock, host),
  );
  const worker = cluster.addWorker({ gpus: 2 });
  cluster.controller.start();
  cluster.clock.run(10 * SECOND);
  const busy = cluster.lines.filter((line) => /GPU\d Infer .* utilization=0\.[89]/.test(line));
  assert.equal(busy.length, 2, cluster.lines.join("\n"));
  assert.equal(cluster.requests.length, 0);
  assert.ok(
    cluster.actions.every(({ goodput }) => goodput === 1),
    "there is nobody to be late for",
  );
  worker.link.cut();
  const { length } = cluster.actions;
  cluster.run(10 * SECOND);
  assert.ok(
    cluster.actions.length < length + 20,
    "what had been sent has failed, and nothing more",
  );
});

Deno.test("every request settles once, whatever is lost, and whenever", () => {
  const arbitrary = fc.record({
    scheduler: fc.constantFrom(...Object.keys(schedulers) as (keyof typeof schedulers)[]),
    workers: fc.array(
      fc.record({ gpus: fc.integer({ min: 1, max: 3 }), pages: fc.integer({ min: 2, max: 8 }) }),
      { minLength: 1, maxLength: 3 },
    ),
    clients: fc.integer({ min: 1, max: 3 }),
    models: fc.integer({ min: 1, max: 6 }),
    latencyUs: fc.integer({ min: 0, max: 3000 }),
    bytesPerSecond: fc.constantFrom(undefined, 1e5, 1e7),
    cuts: fc.array(
      fc.record({
        atUs: fc.integer({ min: 0, max: 2_400_000 }),
        which: fc.constantFrom("worker", "client", "controller"),
        index: fc.nat(2),
        kind: fc.constantFrom("cut", "close"),
      }),
      { maxLength: 4 },
    ),
    seed: fc.integer(),
  });
  fc.assert(
    fc.property(arbitrary, (s) => {
      const cluster = new Cluster({ maxRequests: 50 }, schedulers[s.scheduler]);
      const random = new Random(s.seed);
      const link = {
        latencyNs: s.latencyUs * US,
        ...(s.bytesPerSecond === undefined ? {} : { bytesPerSecond: s.bytesPerSecond }),
      };
      const workers = s.workers.map((worker) => cluster.addWorker({ ...worker, link }));
      const clients = Array.from({ length: s.clients }, () => cluster.addClient());
      for (const { atUs, which, index, kind } of s.cuts) {
        cluster.clock.at(atUs * US, () => {
          if (which === "controller") return cluster.controller.close("over");
          const ends = which === "worker" ? workers : clients;
          const { link } = ends[index % ends.length]!;
          if (kind === "cut") link.cut();
          else link.close("enough");
        });
      }
      cluster.controller.start();
      const outcomes: Outcome<unknown>[] = [];
      const listings: Outcome<readonly Model[]>[] = [];
      const add = <T>(outcome: Outcome<T>) => outcomes.push(outcome as Outcome<unknown>);
      for (const { client } of clients) {
        for (let model = 0; model < s.models; model++) {
          const path = random.below(8) === 0 ? "nowhere" : `${1 + random.below(3)}/m`;
          add(outcome((done) => client.loadModel(path, 1 + random.below(2), done)));
        }
        // Asked again for as long as no model can be loaded.
        listings.push(outcome((done) => client.ls(done)));
        const send = () => {
          if (cluster.clock.now() > 2.5 * SECOND) return;
          const id = random.below(2 * s.models + 1);
          const model = { id, path: "", inputBytes: 12, outputBytes: OUTPUT_BYTES };
          add(cluster.infer(client, model, { deadlineNs: random.below(120) * MS }));
          cluster.clock.at(cluster.clock.now() + random.exponential(4 * MS), send);
        };
        cluster.clock.at(1.2 * SECOND, send);
      }
      // DIRECT lets workers take ten seconds to come to an action.
      cluster.clock.run(30 * SECOND);
      for (const { result } of outcomes) assert.notEqual(result, null, "a request never settled");
      const served = cluster.lines.includes(" * Admitting inference requests");
      for (const { client } of clients) if (!served) client.close();
      for (const { result } of listings) assert.notEqual(result, null, "LS was never answered");
      const ids = cluster.requests.map(({ requestId }) => requestId);
      assert.equal(new Set(ids).size, ids.length, "a request was answered twice");
    }),
    { numRuns: 60 },
  );
});

/** Runs the cluster for a while, and returns what had been asked. */
function run<T>(cluster: Cluster, outcome: Outcome<T>, durationNs = SECOND): Outcome<T> {
  cluster.run(durationNs);
  return outcome;
}

/** Keeps requests outstanding, to the models in turn. */
function closedLoop(
  cluster: Cluster,
  client: Parameters<Cluster["infer"]>[0],
  models: readonly Model[],
  concurrency: number,
) {
  const outcomes: Outcome<Uint8Array>[] = [];
  let stopped = false;
  const next = () => {
    if (stopped) return;
    const model = models[outcomes.length % models.length]!;
    const input = new Uint8Array(model.inputBytes);
    outcomes.push(outcome<Uint8Array>((done) =>
      client.infer(model, [input], {}, (result) => {
        done(result);
        cluster.clock.at(cluster.clock.now() + (result.ok ? 0 : MS), next);
      })
    ));
  };
  for (let i = 0; i < concurrency; i++) next();
  return { outcomes, stop: () => stopped = true };
}
