import assert from "node:assert/strict";
import { ActionStatus } from "../core/status.ts";
import { FakeBackend } from "./fake_backend.ts";
import { payloads } from "../wire/payload_pool.ts";
import { FOREVER, INPUT_BYTES, makeModel, OUTPUT_BYTES, Rig, type RigOptions } from "./test_rig.ts";
import type { TestController } from "./test_rig.ts";

function loadedRig(options: RigOptions = {}): { rig: Rig; controller: TestController } {
  const rig = new Rig(options);
  const controller = rig.connect();
  controller.loadModel(0, "1/m", 2);
  rig.run(0);
  controller.loadWeights(0);
  rig.run();
  return { rig, controller };
}

Deno.test("ids at the boundary are refused: a model id equal to the number of models, a GPU likewise", () => {
  const { rig, controller } = loadedRig({ gpus: 2 });
  const models = [controller.loadWeights(2), controller.infer(2), controller.evict(2)];
  const gpus = [controller.loadWeights(1, 2), controller.infer(0, 2), controller.evict(0, 2)];
  const huge = controller.infer(0xffff_ffff, 0xffff_ffff);
  rig.run();
  for (const id of models) assert.equal(controller.status(id), ActionStatus.unknownModel);
  for (const id of gpus) assert.equal(controller.status(id), ActionStatus.invalidGpu);
  assert.equal(controller.status(huge), ActionStatus.invalidGpu);
});

Deno.test("model ids that are taken, or past the last, are refused whole", () => {
  const { rig, controller } = loadedRig();
  const overlap = controller.loadModel(1, "1/m", 5);
  const beyond = controller.loadModel(0xffff_ffff, "1/m", 2);
  const last = controller.loadModel(0xffff_ffff, "1/m", 1);
  const next = controller.loadModel(2, "1/m", 5);
  rig.run();
  assert.equal(controller.status(overlap), ActionStatus.invalidModelId);
  assert.equal(controller.status(beyond), ActionStatus.invalidModelId);
  assert.equal(controller.status(last), 0);
  assert.equal(controller.header(next, "LoadModelFromDiskResult").copies_created, 5);
  assert.equal(rig.server.node.registry.size, 8);
});

Deno.test("models are limited, in number and in the room that their list takes", () => {
  const { rig, controller } = loadedRig({ config: { max_models: 20_000 } });
  const many = controller.loadModel(10, "1/m", 19_999);
  const long = controller.loadModel(10, "1/" + "m".repeat(4000), 10_000);
  const most = controller.loadModel(10, "1/m", 19_998);
  rig.run();
  assert.equal(controller.status(many), ActionStatus.cancelled);
  assert.equal(controller.status(long), ActionStatus.cancelled);
  assert.equal(controller.status(most), 0);
});

Deno.test("a LoadModelFromDisk that makes no sense is refused", () => {
  const { rig, controller } = loadedRig();
  const statuses = [
    controller.loadModel(5, "1/m", 0),
    controller.loadModel(5, "1/m", 1, { max_batch_size: 0 }),
    controller.loadModel(5, "1/m", 1, { max_exec_duration_ns: 0 }),
    controller.loadModel(5, ""),
    controller.loadModel(5, "no/such/model"),
    // Batch size 1 takes 3 ms.
    controller.loadModel(5, "1/m", 1, { max_exec_duration_ns: 2.9e6 }),
  ];
  rig.run();
  assert.deepEqual(statuses.map((id) => controller.status(id)), [
    ActionStatus.invalidAction,
    ActionStatus.invalidAction,
    ActionStatus.invalidAction,
    ActionStatus.invalidModelPath,
    ActionStatus.invalidModelPath,
    ActionStatus.invalidBatchSize,
  ]);
  assert.equal(rig.server.node.registry.size, 2);
});

Deno.test("a model's facts are the slowest GPU's, and end at the limits of the controller", () => {
  const backend = new FakeBackend(2);
  backend.model = (path) => ({
    ...makeModel(path, 2),
    profiles: [
      { loadWeightsNs: 5, execNs: [10, 20, 30] },
      { loadWeightsNs: 7, execNs: [9, 25, 29] },
    ],
  });
  const rig = new Rig({ backend: () => backend });
  const controller = rig.connect();
  const id = controller.loadModel(0, "3/m");
  rig.run();
  const facts = controller.header(id, "LoadModelFromDiskResult");
  assert.equal(facts.weights_load_time_ns, 7);
  assert.deepEqual(facts.exec_times_ns, [10, 25, 30]);
  assert.equal(facts.num_weights_pages, 3);
  assert.equal(facts.input_size, INPUT_BYTES);
  assert.equal(facts.output_size, OUTPUT_BYTES);
});

Deno.test("a model that the backend has misread, or that cannot be told, is given back", () => {
  const backend = new FakeBackend(1);
  const rig = new Rig({ backend: () => backend });
  const controller = rig.connect();
  const good = makeModel("1/m", 1);
  const bad = [
    { ...good, batchSizes: [2, 4, 8] },
    { ...good, batchSizes: [1, 4, 2] },
    { ...good, batchSizes: [1, 2, 2] },
    { ...good, batchSizes: [1, 2, 5000] },
    { ...good, profiles: [] },
    { ...good, profiles: [{ loadWeightsNs: 1, execNs: [1, 2] }] },
    { ...good, profiles: [{ loadWeightsNs: NaN, execNs: [1, 2, 3] }] },
    { ...good, inputs: [{ ...good.inputs[0]!, name: "n".repeat(257) }] },
  ];
  for (const model of bad) {
    backend.model = () => model;
    const id = controller.loadModel(0, "1/m");
    rig.run();
    assert.equal(controller.status(id), ActionStatus.runtimeError);
  }
  assert.deepEqual(backend.unloaded, bad);
  assert.equal(rig.server.node.registry.size, 0);
});

Deno.test("a batch runs in the smallest supported size that holds it", () => {
  const { rig, controller } = loadedRig();
  const three = controller.infer(0, 0, { batch_size: 3, input_sizes: [12, 12, 12] });
  const two = controller.infer(0, 0, { batch_size: 4, input_sizes: [12, 12] });
  rig.run();
  const { exec, output_sizes } = controller.header(three, "InferResult");
  assert.equal(exec.duration_ns, 6e6);
  assert.deepEqual(output_sizes, [8, 8, 8]);
  assert.equal(controller.result(three).payload.length, 24);
  // The controller planned with a batch size of 4, so that is what runs.
  assert.equal(controller.header(two, "InferResult").exec.duration_ns, 6e6);
  assert.deepEqual(controller.header(two, "InferResult").output_sizes, [8, 8]);
});

Deno.test("batch sizes that no size supports, and sizes that do not add up, are refused", () => {
  const { rig, controller } = loadedRig();
  const batches = [
    controller.infer(0, 0, { batch_size: 0 }),
    controller.infer(0, 0, { batch_size: 5, input_sizes: [12, 12, 12, 12, 12] }),
  ];
  const wrong = [
    controller.infer(0, 0, { input_sizes: [11] }),
    controller.infer(0, 0, { input_sizes: [] }),
    controller.infer(0, 0, { input_sizes: [12, 12] }),
    controller.infer(0, 0, { batch_size: 2, input_sizes: [12, 0] }),
    controller.infer(0, 0, { batch_size: 2, input_sizes: [0, 12] }),
    controller.infer(0, 0, { batch_size: 2, input_sizes: [0, 24] }),
  ];
  const header = {
    model_id: 0,
    gpu_id: 0,
    batch_size: 1,
    input_sizes: [12],
    earliest_ns: 0,
    latest_ns: 1e15,
    expected_duration_ns: 0,
  };
  wrong.push(controller.send("Infer", header, [new Uint8Array(13)]));
  wrong.push(controller.send("Infer", header, []));
  rig.run();
  for (const id of batches) assert.equal(controller.status(id), ActionStatus.invalidBatchSize);
  for (const id of wrong) assert.equal(controller.status(id), ActionStatus.copyInputBadSizes);
});

Deno.test("inputs are views of the payload, and are left out when all have size zero", () => {
  const backend = new FakeBackend();
  const rig = new Rig({ backend: () => backend });
  const controller = rig.connect();
  controller.loadModel(0, "1/m");
  rig.run(0);
  controller.loadWeights(0);
  rig.run(0);
  backend.loads[0]!.done({ beginNs: 0, endNs: 0 });
  const payload = Uint8Array.from({ length: 24 }, (_, i) => i);
  const header = {
    model_id: 0,
    gpu_id: 0,
    batch_size: 2,
    input_sizes: [12, 12],
    earliest_ns: 0,
    latest_ns: 1e15,
    expected_duration_ns: 0,
  };
  controller.send("Infer", header, [payload]);
  rig.run(0);
  const inputs = backend.infers[0]!.inputs!;
  assert.deepEqual(inputs.map((input) => [...input]), [
    [...payload.subarray(0, 12)],
    [...payload.subarray(12)],
  ]);
  assert.equal(inputs[0]!.buffer, inputs[1]!.buffer);

  const span = { beginNs: 0, endNs: 0 };
  const outcome = { copyInput: span, exec: span, copyOutput: span };
  backend.infers[0]!.done({ ...outcome, outputs: [new Uint8Array(8)] });
  const generated = controller.infer(0, 0, { batch_size: 3, input_sizes: [0, 0] });
  rig.run(0);
  assert.equal(backend.infers[1]!.inputs, null);
  assert.equal(backend.infers[1]!.batchSize, 4);
  // The backend cannot know how many of the four are asked for.
  backend.infers[1]!.done({ ...outcome, outputs: new Array(4).fill(new Uint8Array(8)) });
  rig.run(0);
  assert.equal(controller.status(0 + 2), ActionStatus.runtimeError);
  assert.deepEqual(controller.header(generated, "InferResult").output_sizes, [8, 8]);
});

Deno.test("inputs of size zero are refused when the configuration says so", () => {
  const { rig, controller } = loadedRig({ config: { allow_zero_size_inputs: false } });
  const id = controller.infer(0, 0, { input_sizes: [0] });
  rig.run();
  assert.equal(controller.status(id), ActionStatus.copyInputBadSizes);
});

Deno.test("host memory of waiting inferences is limited, and given back", () => {
  const { rig, controller } = loadedRig({
    config: { host_io_pool_size: 3 * (INPUT_BYTES + OUTPUT_BYTES) },
  });
  const statuses = () => ids.map((id) => controller.status(id));
  let ids = Array.from({ length: 5 }, () => controller.infer(0));
  rig.run();
  const full = ActionStatus.copyInputHostAllocation;
  assert.deepEqual(statuses(), [0, 0, 0, full, full]);
  ids = Array.from({ length: 4 }, () => controller.infer(0));
  rig.run();
  assert.deepEqual(statuses(), [0, 0, 0, full]);
});

Deno.test("a batch that does not fit into the I/O pool is refused", () => {
  // Both have room for two requests with their outputs; one has it for the inputs of four.
  for (const io_pool_size of [2 * (INPUT_BYTES + OUTPUT_BYTES), 4 * INPUT_BYTES]) {
    const { rig, controller } = loadedRig({ config: { io_pool_size } });
    const fits = controller.infer(0, 0, { batch_size: 2 });
    const large = controller.infer(0, 0, { batch_size: 3 });
    rig.run();
    assert.equal(controller.status(fits), 0);
    assert.equal(controller.status(large), ActionStatus.copyInputPoolExhausted);
  }
});

Deno.test("outputs that no message could carry are not made", () => {
  const backend = new FakeBackend();
  backend.model = (path) => ({ ...makeModel(path, 1), outputBytes: 100 * 2 ** 20 });
  const gib = 2 ** 30;
  const config = { io_pool_size: gib, host_io_pool_size: gib };
  const rig = new Rig({ backend: () => backend, config });
  const controller = rig.connect();
  controller.loadModel(0, "1/m");
  rig.run(0);
  controller.loadWeights(0);
  rig.run(0);
  backend.loads[0]!.done({ beginNs: 0, endNs: 0 });
  const large = controller.infer(0, 0, { batch_size: 3, input_sizes: [0, 0, 0] });
  controller.infer(0, 0, { batch_size: 3, input_sizes: [0, 0] });
  rig.run(0);
  assert.equal(controller.status(large), ActionStatus.copyOutputHostAllocation);
  assert.equal(backend.infers.length, 1, "fewer requests than that are served");
});

Deno.test("results tell when the action came and when they left, in the worker's clock", () => {
  const { rig, controller } = loadedRig({ workerOffsetNs: 5000e6 });
  rig.clock.run(2000e6);
  const id = controller.infer(0);
  const failed = controller.infer(9);
  rig.run();
  const { action_received_ns, result_sent_ns } = controller.header(id, "InferResult");
  assert.deepEqual([action_received_ns, result_sent_ns], [7000e6, 7003e6]);
  const error = controller.header(failed, "ErrorResult" as "InferResult");
  assert.deepEqual([error.action_received_ns, error.result_sent_ns], [7000e6, 7000e6]);
});

Deno.test("the memory of a payload is used again once its action has ended, or is refused", () => {
  const inputBytes = 40_000;
  const backend = new FakeBackend();
  backend.model = (path) => ({ ...makeModel(path, 1), inputBytes });
  const rig = new Rig({ backend: () => backend });
  const controller = rig.connect();
  controller.loadModel(0, "1/m");
  rig.run(0);
  controller.loadWeights(0);
  rig.run(0);
  backend.loads[0]!.done({ beginNs: 0, endNs: 0 });
  const infer = (model_id: number) => {
    const payload = payloads.take(inputBytes);
    const header = {
      model_id,
      gpu_id: 0,
      batch_size: 1,
      input_sizes: [inputBytes],
      expected_duration_ns: 0,
      ...FOREVER,
    };
    controller.send("Infer", header, [payload]);
    rig.run(0);
    return payload.buffer;
  };
  const idleBytes = payloads.idleBytes;
  const memory = infer(0);
  assert.equal(backend.infers[0]!.inputs![0]!.buffer, memory);
  assert.equal(payloads.idleBytes, idleBytes);
  backend.infers[0]!.done({ status: ActionStatus.runtimeError, message: "no" });
  assert.ok(payloads.idleBytes > idleBytes);
  // Taken again, and back at once: there is no model 9.
  assert.equal(infer(9), memory);
  assert.ok(payloads.idleBytes > idleBytes);
});
