import assert from "node:assert/strict";
import { MS } from "../../core/clock.ts";
import type { ModelSpec, Request } from "../scheduler.ts";
import { RESNET50 } from "../test_cluster.ts";
import { latestStartOf, pickNext, pressed } from "./choice.ts";
import { Gpu, Model, Placement } from "./state.ts";

/** Requests of a model on a GPU, by their deadlines in milliseconds; 3.3 ms for one, 12.4 for eight. */
function waiting(gpu: Gpu<Request>, deadlinesMs: readonly number[], spec: ModelSpec = RESNET50) {
  const runs = { specs: new Map([[0, spec]]), execFloorNs: spec.execNs[0]!, loadFloorNs: 0 };
  const model = new Model<Request>(gpu.ready.size, runs);
  for (const ms of deadlinesMs) {
    model.queue.insert({ modelId: model.id, arrivalNs: 0, deadlineNs: ms * MS, inputBytes: 0 });
  }
  const placement = new Placement(gpu, model);
  model.placements.push(placement);
  if (deadlinesMs.length > 0) placement.latestStartNs = latestStartOf(placement);
  gpu.ready.add(placement);
  return placement;
}

const oneGpu = () => new Gpu<Request>({ workerId: 0, gpuId: 0, pages: 100 });
const late = (count: number) => new Array<number>(count).fill(200);
const scaled = (factor: number) => ({
  ...RESNET50,
  execNs: RESNET50.execNs.map((ns) => ns * factor),
});

Deno.test("the latest start is that of the largest batch that waits", () => {
  const starts = [[50], [50, 60, 70], late(9)].map((deadlines) =>
    latestStartOf(waiting(oneGpu(), deadlines)) / MS
  );
  assert.deepEqual(starts, [50 - 3.3, 50 - 5.3, 200 - 12.4]);
});

Deno.test("a model that uses the GPU better goes first, if that leaves the urgent one some time", () => {
  // After 12.4 ms, and 7 to spare, the urgent one takes 3.3.
  for (const [urgentMs, picked] of [[22.8, 1], [22.6, 0]] as const) {
    const gpu = oneGpu();
    const placements = [waiting(gpu, [urgentMs]), waiting(gpu, late(8))];
    assert.equal(pickNext(placements[0]!, 0), placements[picked], `${urgentMs}`);
  }
  const gpu = oneGpu();
  const urgent = waiting(gpu, [22.8]);
  waiting(gpu, late(8));
  assert.equal(pickNext(urgent, MS), urgent, "the GPU is free later");
  // Seven run as eight, which takes as long.
  const other = oneGpu();
  const pressing = waiting(other, [22.6]);
  waiting(other, late(7));
  assert.equal(pickNext(pressing, 0), pressing);
});

Deno.test("a little better is no reason to wait, nor is a model without requests", () => {
  for (const [factor, picked] of [[0.97, 0], [0.9, 1]] as const) {
    const gpu = oneGpu();
    const placements = [waiting(gpu, late(8)), waiting(gpu, late(8), scaled(factor))];
    assert.equal(pickNext(placements[0]!, 0), placements[picked], `${factor}`);
  }
  const gpu = oneGpu();
  const only = waiting(gpu, late(1));
  waiting(gpu, []);
  assert.equal(pickNext(only, 0), only);
});

Deno.test("a GPU is pressed if those behind a small batch would be late, in large ones", () => {
  const small = { from: 0, count: 1, index: 0 };
  const large = { from: 1, count: 8, index: 3 };
  const isPressed = (deadlinesMs: readonly number[], gpus = 1) => {
    const placement = waiting(oneGpu(), deadlinesMs);
    for (let i = 1; i < gpus; i++) {
      placement.model.placements.push(new Placement(oneGpu(), placement.model));
    }
    return pressed(placement, small, large, 10 * MS);
  };
  // The next eight would end at 22.4, those after them at 34.8; on two GPUs, at 28.6.
  assert.ok(!isPressed([5, ...late(20)]));
  assert.ok(isPressed([5, 22, ...late(20)]));
  assert.ok(!isPressed([5, 23, ...late(20)]));
  assert.ok(isPressed([5, ...new Array(9).fill(34)]));
  assert.ok(!isPressed([5, ...new Array(9).fill(35)]));
  assert.ok(!isPressed([5, ...new Array(9).fill(34)], 2));
  assert.ok(isPressed([5, ...new Array(9).fill(28)], 2));
});

Deno.test("or if its other models would be late, most urgent first", () => {
  const small = { from: 0, count: 1, index: 0 };
  const isPressed = (others: readonly (readonly number[])[]) => {
    const gpu = oneGpu();
    const placement = waiting(gpu, [5]);
    for (const deadlines of others) waiting(gpu, deadlines);
    return pressed(placement, small, small, 10 * MS);
  };
  // With 7 ms to spare, one request after the other from 10 ms on: they must start by 17 and 20.3.
  assert.ok(!isPressed([[20.4]]));
  assert.ok(isPressed([[20.2]]));
  assert.ok(!isPressed([[23.7], [20.4]]));
  assert.ok(isPressed([[23.5], [20.4]]));
  assert.ok(!isPressed([late(8), [], [20.4]]));
});
