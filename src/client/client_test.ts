import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { RequestStatus } from "../core/status.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import type { Catalogue } from "./catalogue.ts";
import { Client, type ClientOptions } from "./client.ts";
import { type Model, NO_INPUT } from "./model.ts";
import { ClockworkClient } from "./promises.ts";
import { RequestError, type Result, UNDECIDED } from "./result.ts";
import { ScriptedLink } from "./scripted_link.ts";

const model: Model = { id: 7, path: "/models/a/model", inputBytes: 4, outputBytes: 2 };
const initializing = {
  request_type: 2,
  status: RequestStatus.initializing,
  message: "Controller initializing",
};

function setUp(options: ClientOptions = {}) {
  const link = new ScriptedLink(new VirtualClock(7 * SECOND));
  const client = new Client(link, link.clock, options);
  link.handler = client;
  return { link, clock: link.clock, client };
}

/** Collects results in the order in which requests settle. */
function collect<T>() {
  const results: { tag: string; result: Result<T> }[] = [];
  return { results, into: (tag: string) => (result: Result<T>) => results.push({ tag, result }) };
}

Deno.test("infer sends what was asked and settles with the output and its latency", () => {
  const { link, clock, client } = setUp({ userId: 3 });
  const { results, into } = collect<Uint8Array>();
  const input = [Uint8Array.of(1, 2), Uint8Array.of(3, 4)];
  client.infer(model, input, { deadlineNs: 50 * MS, sloFactor: 2 }, into("a"));
  const [request] = link.sentOf("InferRequest");
  assert.deepEqual(request!.header, {
    user_id: 3,
    model_id: 7,
    batch_size: 1,
    deadline_ns: 50 * MS,
    slo_factor: 2,
  });
  assert.deepEqual(request!.payload, Uint8Array.of(1, 2, 3, 4));
  clock.advance(5 * MS);
  link.deliver("InferResponse", request!.id, { output_size: 2 }, Uint8Array.of(8, 9));
  assert.deepEqual(results, [
    { tag: "a", result: { ok: true, value: Uint8Array.of(8, 9), latencyNs: 5 * MS } },
  ]);
  assert.equal(client.outstanding, 0);
});

Deno.test("a deadline is told less what the network takes there and back", () => {
  const { link, client } = setUp();
  // 3 ms each way, however the clocks differ.
  link.sync.observe(0, 1003 * MS, -997 * MS);
  client.infer(model, NO_INPUT, { deadlineNs: 50 * MS }, () => {});
  client.infer(model, NO_INPUT, { deadlineNs: 2 * MS }, () => {});
  client.infer(model, NO_INPUT, {}, () => {});
  assert.deepEqual(
    link.sentOf("InferRequest").map(({ header }) => header.deadline_ns),
    [44 * MS, 1, 0],
  );
});

Deno.test("answers out of order go to their own requests", () => {
  const { link, client } = setUp();
  const { results, into } = collect<Uint8Array>();
  for (const tag of ["a", "b", "c"]) client.infer(model, NO_INPUT, {}, into(tag));
  const ids = link.sent.map(({ id }) => id);
  assert.equal(new Set(ids).size, 3);
  link.deliver("InferResponse", ids[2]!, { output_size: 0 });
  link.deliver("ErrorResponse", ids[0]!, {
    request_type: 0,
    status: RequestStatus.timeout,
    message: "too late",
  });
  link.deliver("InferResponse", ids[1]!, { output_size: 0 });
  assert.deepEqual(results.map(({ tag }) => tag), ["c", "a", "b"]);
  assert.deepEqual(results[1]!.result, {
    ok: false,
    from: "controller",
    status: RequestStatus.timeout,
    message: "too late",
    latencyNs: 0,
  });
});

Deno.test("second answers and answers to nothing are counted and ignored", () => {
  const { link, client } = setUp();
  const { results, into } = collect<Uint8Array>();
  client.infer(model, NO_INPUT, {}, into("a"));
  const { id } = link.sent[0]!;
  link.deliver("InferResponse", id, { output_size: 0 });
  link.deliver("InferResponse", id, { output_size: 0 });
  link.deliver("ErrorResponse", id, { request_type: 0, status: 1, message: "" });
  link.deliver("LsResponse", 999, { models: [] });
  assert.equal(results.length, 1);
  assert.equal(client.strayAnswers, 3);
});

Deno.test("an answer of another kind fails the request instead of passing as its result", () => {
  const { link, client } = setUp();
  const { results, into } = collect<Uint8Array>();
  client.infer(model, NO_INPUT, {}, into("a"));
  link.deliver("LsResponse", link.sent[0]!.id, { models: [] });
  const { result } = results[0]!;
  assert.ok(!result.ok);
  assert.match(result.message, /answered with LsResponse, expected InferResponse/);
});

Deno.test("ls and loadModel are tried again while the controller initializes", () => {
  const retries: string[] = [];
  const { link, clock, client } = setUp({
    retryNs: 100 * MS,
    onRetry: (message) => retries.push(message),
  });
  const { results, into } = collect<readonly Model[]>();
  client.ls(into("ls"));
  link.deliver("ErrorResponse", link.sent[0]!.id, initializing);
  clock.advance(99 * MS);
  assert.equal(link.sent.length, 1);
  assert.equal(client.outstanding, 1);
  clock.advance(1 * MS);
  assert.equal(link.sent.length, 2);
  assert.notEqual(link.sent[1]!.id, link.sent[0]!.id);
  link.deliver("ErrorResponse", link.sent[1]!.id, initializing);
  clock.advance(100 * MS);
  link.deliver("LsResponse", link.sent[2]!.id, {
    models: [{ model_id: 7, model_path: "/models/a/model", input_size: 4, output_size: 2 }],
  });
  assert.deepEqual(retries, ["Controller initializing", "Controller initializing"]);
  assert.deepEqual(results, [
    { tag: "ls", result: { ok: true, value: [model], latencyNs: 200 * MS } },
  ]);
  assert.equal(client.outstanding, 0);
  assert.equal(clock.pending, 0);
});

Deno.test("a controller that initializes for more than an hour is given up", () => {
  const { link, clock, client } = setUp({ retryNs: 600 * SECOND });
  const { results, into } = collect<unknown>();
  client.ls(into("ls"));
  for (let tries = 1; results.length === 0; tries++) {
    assert.equal(link.sent.length, tries);
    link.deliver("ErrorResponse", link.sent.at(-1)!.id, initializing);
    clock.advance(600 * SECOND);
  }
  // Asked at 0, 10, … 60 minutes.
  assert.equal(link.sent.length, 7);
  const { result } = results[0]!;
  assert.ok(!result.ok);
  assert.deepEqual([result.from, result.status], ["controller", RequestStatus.initializing]);
  assert.equal(result.latencyNs, 3600 * SECOND);
});

/** What a controller describes: its only model, and from where on to ask for more. */
function described(revision: number, id: number, next_model_id: number) {
  const tensor = { name: "x", datatype: "FP32", shape: [-1, 2] };
  return {
    revision,
    state: "serving",
    default_slo_ns: 100 * MS,
    models: [{
      model_id: id,
      no_of_copies: 2,
      model_path: `m${id}`,
      model_status: "ready",
      input_size: 8,
      output_size: 8,
      weights_size: 100,
      num_weights_pages: 1,
      weights_load_time_ns: 5,
      supported_batch_sizes: [1, 2],
      exec_times_ns: [3, 4],
      inputs: [tensor],
      outputs: [{ ...tensor, shape: [2] }],
    }],
    next_model_id,
  };
}

Deno.test("models are described in as many parts as the controller makes of them", () => {
  const { link, client } = setUp();
  const { results, into } = collect<Catalogue | null>();
  const asked = () => {
    const { id, header } = link.sentOf("DescribeModelsRequest").at(-1)!;
    return { id, from: [header.model_id, header.revision] };
  };
  client.describeModels(4, into("changed"));
  assert.deepEqual(asked().from, [0, 4]);
  link.deliver("DescribeModelsResponse", asked().id, described(5, 0, 2));
  // The rest is wanted, whatever its revision.
  assert.deepEqual(asked().from, [2, 0]);
  // An id that does not ascend ends it, or it would never end.
  link.deliver("DescribeModelsResponse", asked().id, described(5, 2, 2));
  const { result } = results[0]!;
  assert.ok(result.ok);
  const { models, ...rest } = result.value!;
  assert.deepEqual(rest, { revision: 5, state: "serving", defaultSloNs: 100 * MS });
  assert.deepEqual(models.map(({ id }) => id), [0, 2]);
  const tensor = { name: "x", datatype: "FP32", shape: [2], bytes: 8 };
  assert.deepEqual(models[0], {
    id: 0,
    copies: 2,
    path: "m0",
    status: "ready",
    inputs: [{ ...tensor, batched: true }],
    outputs: [{ ...tensor, batched: false }],
    inputBytes: 8,
    outputBytes: 8,
    weightsBytes: 100,
    weightsPages: 1,
    loadWeightsNs: 5,
    batchSizes: [1, 2],
    execNs: [3, 4],
  });
  client.describeModels(5, into("the same"));
  link.deliver("DescribeModelsResponse", asked().id, {
    ...described(5, 0, 0),
    state: "resting",
    models: [],
  });
  assert.deepEqual(results[1]!.result, { ok: true, value: null, latencyNs: 0 });
  client.describeModels(null, into("anew"));
  assert.deepEqual(asked().from, [0, 0]);
  const failure = { request_type: 5, status: 1, message: "no" };
  link.deliver("ErrorResponse", asked().id, failure);
  assert.equal(results[2]!.result.ok, false);
});

Deno.test("an inference is not tried again: its time has passed", () => {
  const { link, clock, client } = setUp();
  const { results, into } = collect<Uint8Array>();
  client.infer(model, NO_INPUT, {}, into("a"));
  link.deliver("ErrorResponse", link.sent[0]!.id, { ...initializing, request_type: 0 });
  clock.advance(10_000 * MS);
  assert.equal(link.sent.length, 1);
  assert.equal(results.length, 1);
});

Deno.test("loadModel returns one model for each copy", () => {
  const { link, client } = setUp();
  const { results, into } = collect<readonly Model[]>();
  client.loadModel("/models/a/model", 2, into("load"));
  const [request] = link.sentOf("LoadModelRequest");
  assert.equal(request!.header.model_path, "/models/a/model");
  assert.equal(request!.header.no_of_copies, 2);
  const facts = { model_id: 7, copies_created: 2, input_size: 4, output_size: 2 };
  link.deliver("LoadModelResponse", request!.id, facts);
  const { result } = results[0]!;
  assert.ok(result.ok);
  assert.deepEqual(result.value, [model, { ...model, id: 8 }]);
});

Deno.test("a lost connection settles every request once, those between two tries too", () => {
  const lost: string[] = [];
  const { link, clock, client } = setUp({ onLost: (reason) => lost.push(reason) });
  const { results, into } = collect<unknown>();
  client.ls(into("retrying"));
  link.deliver("ErrorResponse", link.sent[0]!.id, initializing);
  client.infer(model, NO_INPUT, {}, into("waiting"));
  client.onClose("connection reset");
  client.onClose("again");
  assert.deepEqual(results.map(({ tag }) => tag).sort(), ["retrying", "waiting"]);
  for (const { result } of results) {
    assert.ok(!result.ok);
    assert.equal(result.from, "client");
    assert.equal(result.status, UNDECIDED);
    assert.match(result.message, /connection to controller:12346 was lost: connection reset/);
  }
  assert.deepEqual(lost, ["connection reset"]);
  assert.deepEqual([client.outstanding, client.connected], [0, false]);
  clock.advance(10_000 * MS);
  assert.equal(link.sent.length, 2);

  client.infer(model, NO_INPUT, {}, into("after"));
  assert.equal(results.length, 2);
  clock.advance(0);
  assert.equal(results.length, 3);
  const { result } = results[2]!;
  assert.ok(!result.ok);
  assert.equal(result.status, RequestStatus.error);
  assert.match(result.message, /was lost/);
});

Deno.test("close settles what waits, and what the link says afterwards changes nothing", () => {
  const { link, clock, client } = setUp({ onLost: () => assert.fail("it was closed, not lost") });
  const { results, into } = collect<unknown>();
  client.infer(model, NO_INPUT, {}, into("a"));
  let ended = 0;
  client.close();
  client.close(() => ended++);
  assert.equal(ended, 0);
  client.onClose("closed");
  assert.equal(ended, 1);
  client.close(() => ended++);
  clock.advance(0);
  assert.equal(ended, 2);
  assert.equal(results.length, 1);
  assert.match((results[0]!.result as { message: string }).message, /client was closed/);
  assert.notEqual(link.closedBecause, null);
});

Deno.test("everyone who asked for the end is told of it, once", () => {
  const { client } = setUp();
  const told: string[] = [];
  for (const who of ["a", "b"]) client.close(() => told.push(who));
  client.onClose("closed");
  client.onClose("again");
  assert.deepEqual(told, ["a", "b"]);
});

Deno.test("what no controller could read is refused before it is sent", () => {
  const { link, clock, client } = setUp();
  const { results, into } = collect<unknown>();
  const wrong: [string, (done: (result: Result<unknown>) => void) => void][] = [
    ["deadline_ns must be", (done) => client.infer(model, NO_INPUT, { deadlineNs: -1 }, done)],
    ["deadline_ns must be", (done) => client.infer(model, NO_INPUT, { deadlineNs: NaN }, done)],
    [
      "deadline_ns must be",
      (done) => client.infer(model, NO_INPUT, { deadlineNs: Infinity }, done),
    ],
    ["slo_factor must be", (done) => client.infer(model, NO_INPUT, { sloFactor: NaN }, done)],
    ["trace must be", (done) => client.infer(model, NO_INPUT, { trace: "0".repeat(65) }, done)],
    ["model_id must be", (done) => client.infer({ ...model, id: -1 }, NO_INPUT, {}, done)],
    ["model_path must be", (done) => client.loadModel("x".repeat(4097), 1, done)],
    ["no_of_copies must be", (done) => client.loadModel("m", 1.5, done)],
    ["model_id must be", (done) => client.unloadModels(2 ** 32, 1, done)],
    ["an upload has 1 to 64 files, not 0", (done) => client.beginUpload("m", [], [], done)],
  ];
  for (const [message, ask] of wrong) ask(into(message));
  clock.advance(0);
  assert.deepEqual(link.sent, []);
  assert.deepEqual(results.map(({ tag }) => tag), wrong.map(([message]) => message));
  for (const { tag, result } of results) {
    assert.ok(!result.ok);
    assert.equal(result.from, "client");
    assert.equal(result.status, RequestStatus.invalidRequest);
    assert.ok(result.message.startsWith(tag), result.message);
  }
});

Deno.test("requests beyond the limit are refused, not queued, and not within the call", () => {
  const { link, clock, client } = setUp({ maxOutstanding: 2 });
  const { results, into } = collect<Uint8Array>();
  for (const tag of ["a", "b", "c"]) client.infer(model, NO_INPUT, {}, into(tag));
  assert.equal(link.sent.length, 2);
  assert.equal(results.length, 0);
  clock.advance(0);
  assert.deepEqual(results.map(({ tag }) => tag), ["c"]);
  assert.match((results[0]!.result as { message: string }).message, /2 requests are waiting/);
  link.deliver("InferResponse", link.sent[0]!.id, { output_size: 0 });
  client.infer(model, NO_INPUT, {}, into("d"));
  assert.equal(link.sent.length, 3);
});

Deno.test("nothing is sent while too much waits for the network", () => {
  const { link, clock, client } = setUp({ maxQueuedBytes: 1000 });
  const { results, into } = collect<Uint8Array>();
  link.queuedBytes = 1001;
  client.infer(model, NO_INPUT, {}, into("a"));
  clock.advance(0);
  assert.equal(link.sent.length, 0);
  assert.match((results[0]!.result as { message: string }).message, /1001 bytes are waiting/);
  link.queuedBytes = 1000;
  client.infer(model, NO_INPUT, {}, into("b"));
  assert.equal(link.sent.length, 1);
});

Deno.test("an input of the wrong size is refused before it is sent", () => {
  const { link, clock, client } = setUp();
  const { results, into } = collect<Uint8Array>();
  // No bytes are not the same as no input, which the server would make.
  for (const size of [0, 3]) client.infer(model, [new Uint8Array(size)], {}, into(`${size}`));
  clock.advance(0);
  assert.equal(link.sent.length, 0);
  for (const { tag, result } of results) {
    assert.ok(!result.ok);
    assert.equal(result.status, RequestStatus.invalidRequest);
    assert.match(result.message, new RegExp(`${tag} bytes.*takes 4`));
  }
  assert.equal(results.length, 2);
});

Deno.test("promises resolve to values and reject with the controller's status and message", async () => {
  const { link, client } = setUp();
  const clockwork = new ClockworkClient(client);
  link.onSent = ({ kind, id }) =>
    link.clock.at(0, () => {
      if (kind === "InferRequest") {
        link.deliver("InferResponse", id, { output_size: 1 }, Uint8Array.of(5));
      } else {
        link.deliver("ErrorResponse", id, { request_type: 1, status: 6, message: "no model 7" });
      }
    });
  const output = clockwork.infer(model, null);
  const evicted = clockwork.evict(model);
  link.clock.advance(0);
  assert.deepEqual(await output, Uint8Array.of(5));
  await assert.rejects(evicted, (error: RequestError) => {
    assert.equal(error.message, "evicting /models/a/model failed: no model 7");
    assert.equal(error.status, RequestStatus.invalidRequest);
    return error instanceof RequestError;
  });
  const closed = clockwork.close();
  client.onClose("closed");
  await closed;
  await assert.rejects(clockwork.infer(model, null), /the client was closed/);
});
