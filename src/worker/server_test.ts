import assert from "node:assert/strict";
import { ActionStatus } from "../core/status.ts";
import type { BackendModel } from "./backend.ts";
import { DEFAULT_WORKER_CONFIG } from "./config.ts";
import { EmulatedBackend } from "./emulated/backend.ts";
import { FakeBackend } from "./fake_backend.ts";
import { makeModel, Rig } from "./test_rig.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { WorkerServer } from "./server.ts";

/** ResNet-50 v2 as the zoo has it. */
function resnet50(gpus: number): BackendModel {
  const ms = (times: number[]) => times.map((time) => time * 1e6);
  return {
    ...makeModel("7/m", gpus),
    source: "/zoo/resnet50_v2",
    inputBytes: 602112,
    outputBytes: 4000,
    weightsBytes: 117440512,
    batchSizes: [1, 2, 4, 8],
    profiles: new Array(gpus).fill({
      loadWeightsNs: 8.4e6,
      execNs: ms([3.3, 5.3, 7.5, 12.4]),
    }),
  };
}

Deno.test("what is printed is what it has always been", () => {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const backend = new EmulatedBackend({
    clock,
    gpus: 2,
    weightsCacheBytes: DEFAULT_WORKER_CONFIG.weights_cache_size,
    readModel: (_, gpus) => resnet50(gpus),
  });
  const server = new WorkerServer({
    clock,
    backend,
    config: DEFAULT_WORKER_CONFIG,
    log: (line) => lines.push(line),
  });
  const rig = new Rig();
  const controller = rig.connect();
  const handler = server.accept(controller.link);
  const send = (message: object) =>
    handler.onMessage({ payload: new Uint8Array(0), ...message } as never);

  send({ kind: "GetWorkerState", id: 0, header: {} });
  clock.run(10e9);
  send({
    kind: "LoadModelFromDisk",
    id: 0,
    header: {
      model_id: 0,
      no_of_copies: 2,
      model_path: "/zoo/resnet50_v2/model",
      earliest_ns: 0,
      latest_ns: 60e9,
      max_batch_size: 8,
      max_exec_duration_ns: 250e6,
    },
  });
  const window = { earliest_ns: 0, latest_ns: 60e9, expected_duration_ns: 0 };
  send({ kind: "LoadWeights", id: 1, header: { model_id: 0, gpu_id: 0, ...window } });
  clock.run(11e9);
  for (let id = 2; id < 5; id++) {
    send({
      kind: "Infer",
      id,
      header: { model_id: 0, gpu_id: 0, batch_size: 1, input_sizes: [0], ...window },
    });
  }
  clock.run(19.9999e9);
  send({ kind: "LoadWeights", id: 5, header: { model_id: 1, gpu_id: 0, ...window } });
  clock.run(20e9);
  send({ kind: "GetWorkerState", id: 6, header: {} });

  assert.equal(
    lines.join("\n"),
    `Received A0:GetWorkerState
Sending R0:GetWorkerState:
 page_size=16777216
gpus=
 GPU-0 weights_cache=21.5GB (1376 pages) io_pool=512.0MB workspace_pool=512.0MB 0 models currently on GPU
 GPU-1 weights_cache=21.5GB (1376 pages) io_pool=512.0MB workspace_pool=512.0MB 0 models currently on GPU
models=

Clock Skew=0  RTT=0  LdWts=0  Inf=0  Evct=0  || Total Pending=0  Errors=0
Received A0:LoadModelFromDisk model=0 [0.0, 50000.0] /zoo/resnet50_v2/model
Sending R0:LoadModelFromDisk input=602112 output=4000 weights=112.0 MB (7 pages) xfer=8.4 b1=3.3 b2=5.3 b4=7.5 b8=12.4 duration=0.0
Clock Skew=0  RTT=0  LdWts=1  Inf=3  Evct=0  || Total Pending=1  Errors=0
Received A6:GetWorkerState
Sending R6:GetWorkerState:
 page_size=16777216
gpus=
 GPU-0 weights_cache=21.5GB (1376 pages) io_pool=512.0MB workspace_pool=512.0MB 1 models currently on GPU
 GPU-1 weights_cache=21.5GB (1376 pages) io_pool=512.0MB workspace_pool=512.0MB 0 models currently on GPU
models=
 M-0 src=/zoo/resnet50_v2/model input=602112 output=4000 weights=112.0 MB (7 pages) xfer=8.4 b1=3.3 b2=5.3 b4=7.5 b8=12.4
 M-1 src=/zoo/resnet50_v2/model input=602112 output=4000 weights=112.0 MB (7 pages) xfer=8.4 b1=3.3 b2=5.3 b4=7.5 b8=12.4
`,
  );
});

Deno.test("skew and RTT are those of the network", () => {
  const rig = new Rig({ workerOffsetNs: 1_000_000 });
  const controller = rig.connect(rig.clock, { latencyNs: 25_000 });
  controller.loadModel(0, "1/m");
  rig.run(1e9);
  controller.loadWeights(0);
  rig.run(10e9);
  assert.equal(
    rig.lines.at(-1),
    "Clock Skew=1000000  RTT=50000  LdWts=1  Inf=0  Evct=0  || Total Pending=0  Errors=0",
  );
});

Deno.test("errors are counted, and the first of each kind is printed in each period", () => {
  const rig = new Rig();
  const controller = rig.connect();
  for (let period = 0; period < 2; period++) {
    rig.lines.length = 0;
    for (let i = 0; i < 100; i++) controller.infer(i);
    controller.evict(1);
    rig.run(10e9);
    assert.equal(rig.lines.length, 3);
    assert.match(rig.lines[0]!, /^Sending R\d+:Infer error 10: there is no model 0/);
    assert.match(rig.lines[1]!, /^Sending R\d+:EvictWeights error 10: /);
    assert.match(rig.lines[2]!, /Errors=101$/);
  }
});

Deno.test("nothing is printed while no controller is connected", () => {
  const rig = new Rig();
  rig.run(60e9);
  const controller = rig.connect();
  controller.link.close("done");
  rig.run(60e9);
  assert.deepEqual(rig.lines, ["Controller controller is gone: the peer closed: done"]);
});

Deno.test("a controller that goes leaves models and weights to the next", () => {
  const rig = new Rig();
  const first = rig.connect();
  first.loadModel(0, "1/m", 2);
  rig.run(0);
  first.loadWeights(0);
  rig.run();
  // One runs and ends, the others are forgotten.
  for (let i = 0; i < 5; i++) first.infer(0);
  first.loadWeights(1, 0, { earliest_ns: rig.clock.now() + 1e6 });
  rig.run(0);
  assert.equal(rig.server.pending, 6);
  first.link.close("gone");
  rig.run(0);
  assert.equal(rig.server.pending, 1);
  rig.run();
  assert.equal(rig.server.pending, 0);
  assert.equal(rig.server.controllers, 0);

  const second = rig.connect();
  const state = second.send("GetWorkerState", {});
  const infer = second.infer(0);
  rig.run();
  const { models, gpus } = second.header(state, "GetWorkerStateResult");
  assert.deepEqual(models.map((model) => model.model_id), [0, 1]);
  assert.deepEqual(gpus[0]!.models, [0]);
  assert.equal(second.status(infer), 0);
});

Deno.test("controllers that are connected at once get their own results", () => {
  const rig = new Rig();
  const a = rig.connect(rig.clock, {}, "a");
  const b = rig.connect(rig.clock, {}, "b");
  a.loadModel(0, "1/m");
  rig.run(0);
  b.loadWeights(0);
  rig.run();
  const fromA = a.infer(0);
  const fromB = [b.infer(0), b.infer(0)];
  a.link.close("gone");
  rig.run();
  assert.equal(a.results.filter(({ id }) => id === fromA).length, 0);
  for (const id of fromB) assert.equal(b.status(id), 0);
});

Deno.test("errors that are longer than a message may be are cut, and nobody is told who is gone", () => {
  const backend = new FakeBackend();
  const rig = new Rig({ backend: () => backend });
  const message = "x".repeat(10_000);
  backend.model = () => ({ status: ActionStatus.runtimeError, message });
  const controller = rig.connect();
  const id = controller.loadModel(0, "1/m");
  rig.run();
  const result = controller.result(id);
  assert.ok(result.kind === "ErrorResult");
  assert.equal(result.header.message, message.slice(0, 4096));
  let end!: () => void;
  backend.loadModel = (path, _options, done) => end = () => done(makeModel(path, 1));
  controller.loadModel(0, "1/m");
  rig.run(0);
  controller.link.close("gone");
  rig.run(0);
  const lines = rig.lines.length;
  end();
  rig.run(0);
  assert.equal(rig.lines.length, lines);
  assert.equal(rig.server.pending, 0);
  assert.equal(rig.server.node.registry.size, 1, "the model is there for the next");
});

Deno.test("a message that is no action ends the link, and only that", () => {
  const rig = new Rig();
  const stray = rig.connect(rig.clock, {}, "stray");
  const controller = rig.connect();
  const header = { user_id: 0, model_id: 0, batch_size: 1, deadline_ns: 0, slo_factor: 0 };
  stray.link.send("InferRequest", 0, header);
  const state = controller.send("GetWorkerState", {});
  rig.run();
  assert.match(stray.closed!, /a worker takes actions, not InferRequest/);
  assert.equal(controller.closed, null);
  assert.equal(controller.status(state), 0);
});

Deno.test("closing answers everything that has not ended with status 3", () => {
  const backend = new FakeBackend();
  const rig = new Rig({ backend: () => backend });
  const controller = rig.connect();
  controller.loadModel(0, "1/m", 2);
  rig.run(0);
  controller.loadWeights(0);
  rig.run(0);
  backend.loads[0]!.done({ beginNs: 0, endNs: 0 });
  backend.model = null;
  const ids = [
    controller.infer(0),
    controller.infer(0),
    controller.loadWeights(1),
    controller.loadWeights(1, 0, { earliest_ns: 1e12 }),
    controller.send("ClearCache", {}),
    controller.loadModel(7, "1/m"),
    controller.loadModel(8, "1/m"),
  ];
  rig.run(0);
  rig.server.close();
  rig.server.close();
  // What a backend says after its end no longer matters.
  backend.loads[1]!.done({ beginNs: 0, endNs: 0 });
  rig.run();
  assert.equal(backend.closed, true);
  for (const id of ids) assert.equal(controller.status(id), ActionStatus.shuttingDown);
  assert.equal(rig.server.pending, 0);
  assert.match(controller.closed!, /shutting down/);
  const late = rig.connect();
  rig.run();
  assert.match(late.closed!, /shutting down/);
});

Deno.test("the emulated backend ends what runs when it is closed", () => {
  const rig = new Rig();
  const controller = rig.connect();
  controller.loadModel(0, "1/m", 2);
  rig.run(0);
  controller.loadWeights(0);
  rig.run();
  const ids = [controller.infer(0), controller.loadWeights(1)];
  rig.run(1e6);
  rig.server.close();
  rig.run();
  for (const id of ids) assert.equal(controller.status(id), ActionStatus.shuttingDown);
});
