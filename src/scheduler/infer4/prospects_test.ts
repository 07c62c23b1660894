import assert from "node:assert/strict";
import { MS } from "../../core/clock.ts";
import type { Request, SchedulerHost } from "../scheduler.ts";
import { RESNET50 } from "../test_cluster.ts";
import { doubtEstimates, Prospects } from "./prospects.ts";
import { Gpu, Model, Placement } from "./state.ts";

const EXEC = RESNET50.execNs[0]! / MS;
const LOAD = RESNET50.loadWeightsNs / MS;
/** The way back, and what is kept for surprises. */
const RETURN = 1 + 0.5;

/** A model on GPUs that are busy for so many milliseconds, of `gpuCount` in all; -1: it is being loaded there. */
function rig(busyMs: readonly number[], gpuCount = busyMs.length) {
  const host = { transferNs: (_: number, bytes: number) => (bytes === 0 ? 1 : 2) * MS };
  const prospects = new Prospects<Request>(
    host as unknown as SchedulerHost<Request>,
    () => gpuCount,
  );
  const model = new Model<Request>(0, {
    specs: new Map([[0, RESNET50]]),
    execFloorNs: RESNET50.execNs[0]!,
    loadFloorNs: RESNET50.loadWeightsNs,
  });
  busyMs.forEach((ms, gpuId) => {
    const gpu = new Gpu<Request>({ workerId: 0, gpuId, pages: 100 });
    const placement = new Placement(gpu, model);
    const work = { expectedNs: Math.max(ms, LOAD) * MS, arrivesNs: 0, placement } as never;
    if (ms < 0) gpu.loads.add(work);
    else placement.state = "loaded";
    if (ms > 0) gpu.exec.add({ expectedNs: ms * MS, arrivesNs: 0 } as never);
    model.placements.push(placement);
  });
  const soonestMs = (bytes = 1) => prospects.soonestFinishNs(model, 0, bytes) / MS;
  const freest = () => prospects.freest(model, 0)?.spec.gpuId;
  return { model, prospects, soonestMs, freest };
}

const near = (actual: number, expected: number) =>
  assert.ok(Math.abs(actual - expected) < 1e-6, `${actual}, not ${expected}`);

Deno.test("a newcomer is done soonest where a GPU is free first, when its input is there", () => {
  near(rig([0]).soonestMs(), 2 + EXEC + RETURN);
  near(rig([0]).soonestMs(0), 1 + EXEC + RETURN);
  near(rig([50, 20, 30]).soonestMs(), 20 + EXEC + RETURN);
  near(rig([-1]).soonestMs(), LOAD + EXEC + RETURN);
});

Deno.test("or where it could be loaded, if there is a GPU that does not have it", () => {
  near(rig([50], 2).soonestMs(), LOAD + EXEC);
  near(rig([], 2).soonestMs(), LOAD + EXEC);
  near(rig([5], 2).soonestMs(), 5 + EXEC + RETURN);
});

Deno.test("with many holders not all are looked at, and some may be free", () => {
  near(rig(new Array(9).fill(50)).soonestMs(), 0);
  near(rig(new Array(8).fill(50)).soonestMs(), 50 + EXEC + RETURN);
});

Deno.test("the freest holder is found, beginning elsewhere each time, as far as eight are looked at", () => {
  assert.equal(rig([]).freest(), undefined);
  assert.equal(rig([-1]).freest(), undefined, "it is not there yet");
  assert.equal(rig([50, -1, 20, 30]).freest(), 2);
  const alike = rig([0, 0, 0]);
  assert.deepEqual([1, 2, 3, 4].map(alike.freest), [0, 1, 2, 0]);
  const many = rig([...new Array(8).fill(50), 10]);
  assert.deepEqual([many.freest(), many.freest()], [0, 8]);
});

Deno.test("estimates are doubted where the model does not run, when nothing was measured for 50 ms", () => {
  const { model } = rig([0]);
  const [placement] = model.placements;
  const [estimator] = placement!.estimates.exec;
  const hiccup = (nowMs: number) => placement!.estimates.recordExec(0, 300 * MS, nowMs * MS);
  hiccup(100);
  doubtEstimates(model, 149 * MS);
  assert.equal(estimator!.ns, 300 * MS);
  placement!.outstanding = 1;
  doubtEstimates(model, 150 * MS);
  assert.equal(estimator!.ns, 300 * MS, "what runs will tell");
  placement!.outstanding = 0;
  doubtEstimates(model, 150 * MS);
  assert.equal(estimator!.ns, EXEC * MS);
  // Once each 50 ms: two different measurements take two.
  for (const ms of [400, 500]) placement!.estimates.recordExec(0, ms * MS, 200 * MS);
  doubtEstimates(model, 250 * MS);
  doubtEstimates(model, 251 * MS);
  assert.equal(estimator!.ns, 400 * MS);
});
