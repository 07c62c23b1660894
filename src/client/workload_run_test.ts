import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { Random } from "../core/random.ts";
import { RequestStatus } from "../core/status.ts";
import { payloads } from "../wire/payload_pool.ts";
import { Client, type ClientOptions } from "./client.ts";
import { type Inputs, noInputs, seededInput, seededInputs } from "./inputs.ts";
import { ScriptedLink, type Sent } from "./scripted_link.ts";
import { WorkloadRun } from "./workload_run.ts";
import { closedLoop } from "./generators/closed_loop.ts";
import { simple } from "./workloads/closed.ts";
import { findWorkload } from "./workloads/registry.ts";
import type { Plan } from "./workloads/workload.ts";

const INPUT_BYTES = 8;
const NOWHERE = { zoo: [], azureTraceDir: null };

/** A run against a controller that answers an inference after `serviceNs`. */
function setUp(
  plan: Plan,
  serviceNs: (request: Sent) => number,
  inputs: Inputs = noInputs,
  options: ClientOptions = {},
  sloNs?: number,
) {
  const link = new ScriptedLink();
  const run: { instance?: WorkloadRun } = {};
  const events: string[] = [];
  const client = new Client(link, link.clock, {
    ...options,
    retryNs: 100 * MS,
    onRetry: (message) => events.push(`retry ${message}`),
    onLost: () => run.instance!.stop(),
  });
  link.handler = client;
  let nextModel = 0;
  let readyNs = 0;
  let outstanding = 0;
  const seen = { maxOutstanding: 0, minOutstanding: Infinity };
  link.onSent = (message) => {
    const { id } = message;
    if (message.kind === "LoadModelRequest") {
      const copies = message.header.no_of_copies;
      const facts = { copies_created: copies, input_size: INPUT_BYTES, output_size: 4 };
      link.deliverIn(MS, "LoadModelResponse", id, { model_id: nextModel, ...facts });
      nextModel += copies;
      readyNs = link.clock.now() + 150 * MS;
    } else if (message.kind === "LsRequest") {
      if (link.clock.now() >= readyNs) link.deliverIn(MS, "LsResponse", id, { models: [] });
      else {
        link.deliverIn(MS, "ErrorResponse", id, {
          request_type: 2,
          status: RequestStatus.initializing,
          message: "Controller initializing",
        });
      }
    } else if (message.kind === "InferRequest") {
      outstanding++;
      seen.maxOutstanding = Math.max(seen.maxOutstanding, outstanding);
      link.clock.at(link.clock.now() + serviceNs(message), () => {
        if (link.closedBecause !== null) return;
        outstanding--;
        link.deliver("InferResponse", id, { output_size: 0 });
        seen.minOutstanding = Math.min(seen.minOutstanding, outstanding);
      });
    }
  };
  run.instance = new WorkloadRun(
    {
      client,
      clock: link.clock,
      random: new Random(1),
      inputs,
      pathOf: (name) => `/zoo/${name}`,
      ...(sloNs === undefined ? {} : { sloNs }),
    },
    plan,
    {
      onStart: () => events.push(`start ${link.clock.now() / MS}`),
      onEnd: (error) => events.push(`end ${error}`),
    },
  );
  return { link, client, clock: link.clock, run: run.instance, events, seen };
}

Deno.test("simple loads two copies, waits for the controller, and keeps one request on each", () => {
  const { link, clock, run, events, seen } = setUp(simple.plan([], NOWHERE), () => 4 * MS);
  run.start();
  clock.run(10 * SECOND + 203 * MS);
  assert.deepEqual(link.sentOf("LoadModelRequest").map(({ header }) => header), [
    { user_id: 0, model_path: "/zoo/resnet50_v2", no_of_copies: 2, workers: [], key: "" },
  ]);
  // Loaded at 1; ls was bounced at 2 and 103, sent once more at 203, and answered at 204.
  assert.deepEqual(events, [
    "retry Controller initializing",
    "retry Controller initializing",
    "start 204",
  ]);
  assert.equal(seen.maxOutstanding, 2);
  for (const copy of [0, 1]) {
    const times = link.sentOf("InferRequest")
      .filter(({ header }) => header.model_id === copy).map(({ atNs }) => atNs);
    assert.ok(times.every((atNs, i) => i === 0 || atNs - times[i - 1]! === 4 * MS));
  }
  const interval = run.statistics.takeInterval(clock.now());
  assert.equal(interval.minNs, 4 * MS);
  assert.equal(interval.maxNs, 4 * MS);
  assert.equal(interval.succeeded, 2 * Math.floor((clock.now() - 204 * MS) / (4 * MS)));
});

Deno.test("a closed loop keeps exactly its concurrency outstanding, whatever the order of answers", () => {
  const random = new Random(5);
  const plan: Plan = {
    uses: [{ model: "a", copies: 3 }],
    start: (run, [copies], finished) =>
      closedLoop(run, copies!, { concurrency: 7, requests: 500, finished }),
  };
  const { link, clock, run, events, seen } = setUp(plan, () => (1 + random.below(20)) * MS);
  run.start();
  clock.run(60 * SECOND);
  const sent = link.sentOf("InferRequest");
  assert.equal(sent.length, 500);
  assert.equal(seen.maxOutstanding, 7);
  assert.equal(events.at(-1), "end null");
  assert.equal(run.statistics.summary(clock.now()).succeeded, 500);
  const perCopy = [0, 1, 2].map((id) => sent.filter((s) => s.header.model_id === id).length);
  assert.deepEqual(perCopy, [167, 167, 166]);
});

Deno.test("stopping sends nothing more and waits for the answers to come", () => {
  const { link, clock, run, events } = setUp(simple.plan([], NOWHERE), () => 40 * MS);
  run.start();
  clock.run(SECOND);
  const sent = link.sentOf("InferRequest").length;
  // One of the two is answered, and the other still to come.
  const [last] = link.sentOf("InferRequest").slice(-1);
  link.deliver("InferResponse", last!.id, { output_size: 0 });
  run.stop();
  assert.equal(run.asked, sent + 1);
  link.deliver("InferResponse", link.sentOf("InferRequest").at(-1)!.id, { output_size: 0 });
  assert.equal(events.at(-1), "start 204");
  clock.advance(50 * MS);
  assert.equal(events.at(-1), "end null");
  assert.equal(link.sentOf("InferRequest").length, sent + 1);
  const { succeeded, durationNs } = run.statistics.summary(clock.now());
  assert.equal(succeeded, sent + 1);
  assert.equal(durationNs, clock.now() - 204 * MS, "from the first request on");
  assert.equal(clock.pending, 0);
});

Deno.test("a controller that never answers does not keep a run from ending", () => {
  const { clock, run, events } = setUp(simple.plan([], NOWHERE), () => 3600 * SECOND);
  run.start();
  clock.run(SECOND);
  run.stop();
  clock.advance(6 * SECOND);
  assert.equal(events.at(-1), "end null");
  const { requests, succeeded } = run.statistics.summary(clock.now());
  assert.deepEqual([requests, succeeded], [2, 0]);
});

Deno.test("a lost connection ends the run, with each request counted once", () => {
  const { link, client, clock, run, events } = setUp(simple.plan([], NOWHERE), () => 40 * MS);
  run.start();
  clock.run(SECOND + 3 * MS);
  const sent = link.sentOf("InferRequest").length;
  client.onClose("connection reset");
  clock.advance(SECOND);
  assert.equal(events.at(-1), "end null");
  const { requests, undecided, failures } = run.statistics.summary(clock.now());
  assert.deepEqual([requests, undecided, failures], [sent, 2, []]);
});

Deno.test("a model that cannot be loaded ends the run with the reason", () => {
  const { link, clock, run, events } = setUp(simple.plan(["b"], NOWHERE), () => MS);
  link.onSent = ({ id }) =>
    link.deliverIn(MS, "ErrorResponse", id, {
      request_type: 3,
      status: 1,
      message: "no such file",
    });
  run.start();
  clock.run(SECOND);
  assert.deepEqual(events, ["end cannot load /zoo/b: no such file"]);
  assert.equal(link.sentOf("InferRequest").length, 0);
});

Deno.test("what the controller does not do as asked ends the run, once, with the reason", () => {
  const answers: [(rig: ReturnType<typeof setUp>, sent: Sent) => void, string][] = [
    [
      ({ link }, { id, kind }) => {
        if (kind !== "LoadModelRequest") return;
        const facts = { model_id: 0, copies_created: 1, input_size: 8, output_size: 4 };
        link.deliverIn(MS, "LoadModelResponse", id, facts);
      },
      "the controller made 1 of 2 copies of /zoo/a",
    ],
    [
      ({ link }, { id, kind }) => {
        const facts = { model_id: 0, copies_created: 2, input_size: 8, output_size: 4 };
        if (kind === "LoadModelRequest") link.deliverIn(MS, "LoadModelResponse", id, facts);
        else {
          const failure = { request_type: 2, status: RequestStatus.error, message: "" };
          link.deliverIn(MS, "ErrorResponse", id, failure);
        }
      },
      "the controller does not serve: error (1)",
    ],
  ];
  for (const [answer, reason] of answers) {
    const plan: Plan = { ...simple.plan(["a"], NOWHERE), start: () => assert.fail("it started") };
    const rig = setUp(plan, () => MS);
    rig.link.onSent = (sent) => answer(rig, sent);
    rig.run.start();
    rig.clock.run(SECOND);
    assert.deepEqual(rig.events, [`end ${reason}`]);
    rig.run.stop();
    assert.equal(rig.events.length, 1);
  }
});

Deno.test("a run that is stopped while it loads ends, and never begins", () => {
  const { clock, run, events } = setUp(simple.plan([], NOWHERE), () => MS);
  run.start();
  run.stop();
  run.stop();
  clock.run(SECOND);
  assert.deepEqual(events, ["end null"]);

  const waiting = setUp(simple.plan([], NOWHERE), () => MS);
  waiting.run.start();
  waiting.clock.run(50 * MS);
  waiting.run.stop();
  waiting.clock.run(SECOND);
  assert.deepEqual(waiting.events.filter((event) => !event.startsWith("retry")), ["end null"]);
});

Deno.test("a plan without models only waits for the controller", () => {
  const plan: Plan = { uses: [], start: (_run, _models, finished) => finished() };
  const { clock, run, events } = setUp(plan, () => MS);
  run.start();
  clock.run(SECOND);
  assert.deepEqual(events, ["start 1", "end null"]);
});

Deno.test("requests carry one seeded input, the same bytes each time", () => {
  const { link, clock, run } = setUp(
    simple.plan([], NOWHERE),
    () => MS,
    seededInputs(new Random(2)),
  );
  run.start();
  clock.run(SECOND);
  const payloads = link.sentOf("InferRequest").map(({ payload }) => payload);
  assert.ok(payloads.length > 100);
  for (const payload of payloads) assert.deepEqual(payload, payloads[0]);
  assert.deepEqual(payloads[0], seededInput(INPUT_BYTES, new Random(2)));
  for (const value of new Float32Array(payloads[0]!.slice().buffer)) {
    assert.ok(value >= 0 && value < 1);
  }
});

Deno.test("an open loop's requests are dropped and counted beyond the limit, and answers make room", () => {
  const plan = findWorkload("poisson-open-loop").plan(["2", "1000"], NOWHERE);
  const { link, clock, run, seen } = setUp(plan, () => 100 * MS, noInputs, { maxOutstanding: 50 });
  run.start();
  clock.run(10 * SECOND + 204 * MS);
  const { requests, drops, failures } = run.statistics.summary(clock.now());
  assert.equal(seen.maxOutstanding, 50);
  // 50 requests take 100 ms, so that half of the 1000 a second find no room.
  const sent = link.sentOf("InferRequest").length;
  assert.ok(sent > 4500 && sent <= 5000, `${sent}`);
  assert.ok(Math.abs(sent + drops.outstanding - 10_000) < 400, `${sent} ${drops.outstanding}`);
  assert.ok(sent - requests <= 50);
  assert.deepEqual(failures, []);
  // Nothing is sent either while the network does not take what there is.
  link.queuedBytes = 300 * 2 ** 20;
  clock.advance(SECOND);
  assert.equal(link.sentOf("InferRequest").length, sent);
  assert.ok(run.statistics.summary(clock.now()).drops.network > 900);
});

Deno.test("after a stall, requests more than a second late are dropped, the others sent", () => {
  const plan = findWorkload("poisson-open-loop").plan(["1", "1000"], NOWHERE);
  const { link, clock, run } = setUp(plan, () => MS);
  run.start();
  clock.run(204 * MS);
  const sentBefore = link.sentOf("InferRequest").length;
  // The machine's clock went on for five seconds before anything could run.
  const model = { id: 0, path: "/zoo/a", inputBytes: 8, outputBytes: 4 };
  for (let lateMs = 5000; lateMs > 0; lateMs--) run.offer(model, {}, lateMs * MS);
  const { drops, late } = run.statistics.summary(clock.now());
  assert.equal(drops.late, 4000);
  assert.equal(late, 990);
  assert.equal(link.sentOf("InferRequest").length - sentBefore, 1000);
});

Deno.test("outputs that came in memory of the pool go back to it", () => {
  const { link, clock, run } = setUp(simple.plan([], NOWHERE), () => 3600 * SECOND);
  run.start();
  clock.run(SECOND);
  const output = payloads.take(100_000);
  const idleBytes = payloads.idleBytes;
  link.deliver(
    "InferResponse",
    link.sentOf("InferRequest")[0]!.id,
    { output_size: 100_000 },
    output,
  );
  assert.ok(payloads.idleBytes >= idleBytes + output.length);
});

Deno.test("a default SLO goes to requests whose workload has none, and late answers are told apart", () => {
  const { link, clock, run } = setUp(
    simple.plan([], NOWHERE),
    ({ id }) => (id % 2 === 0 ? 9 : 11) * MS,
    noInputs,
    {},
    10 * MS,
  );
  run.start();
  clock.run(SECOND);
  const sent = link.sentOf("InferRequest");
  assert.ok(sent.every(({ header }) => header.deadline_ns === 10 * MS));
  const { succeeded, inTime } = run.statistics.summary(clock.now());
  assert.ok(inTime > 0 && inTime < succeeded);
  assert.equal(
    inTime,
    sent.filter(({ id, atNs }) => id % 2 === 0 && atNs + 9 * MS <= SECOND).length,
  );

  const slo = findWorkload("slo-exp-1").plan("a 1 poisson 100 4 8 2 mul 1".split(" "), NOWHERE);
  const stepped = setUp(slo, () => MS, noInputs, {}, 10 * MS);
  stepped.run.start();
  stepped.clock.run(2 * SECOND);
  const headers = stepped.link.sentOf("InferRequest").map(({ header }) => header);
  assert.ok(headers.length > 50 && headers.every((header) => header.deadline_ns === 0));
});
