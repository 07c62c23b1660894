/** What is loaded next, and what is evicted for it, by demand that is set exactly. */
import assert from "node:assert/strict";
import { MS } from "../../core/clock.ts";
import { ActionStatus } from "../../core/status.ts";
import { VirtualClock } from "../../core/virtual_clock.ts";
import type { ActionOutcome, ModelSpec, Request } from "../scheduler.ts";
import { RESNET50 } from "../test_cluster.ts";
import { Loads } from "./loads.ts";
import { DEFAULT_INFER4_OPTIONS } from "./options.ts";
import { Gpu, Model, type WeightsWork } from "./state.ts";

const SPEC: ModelSpec = {
  ...RESNET50,
  weightsPages: 5,
  execNs: [2.5 * MS],
  batchSizes: [1],
  loadWeightsNs: MS,
};
/** Asks for a tenth of a GPU. */
const REQUEST: Request = { modelId: 0, arrivalNs: 0, deadlineNs: 25 * MS, inputBytes: 0 };

function rig(gpuPages: readonly number[]) {
  const clock = new VirtualClock();
  const sent: WeightsWork<Request>[] = [];
  const host = {
    send: (action: unknown) => sent.push(action as WeightsWork<Request>),
    refuse: () => assert.fail(),
    succeed: () => assert.fail(),
    transferNs: () => 0,
  };
  const loads = new Loads<Request>(clock, host, DEFAULT_INFER4_OPTIONS, () => {});
  const gpus = gpuPages.map((pages, gpuId) => new Gpu<Request>({ workerId: 0, gpuId, pages }));
  for (const gpu of gpus) loads.addGpu(gpu);
  let nextId = 0;
  return {
    clock,
    gpus,
    sent,
    loads,
    model: (pages = SPEC.weightsPages) => {
      const specs = new Map([[0, { ...SPEC, weightsPages: pages }]]);
      const runs = { specs, execFloorNs: SPEC.execNs[0]!, loadFloorNs: SPEC.loadWeightsNs };
      return new Model<Request>(nextId++, runs);
    },
    /** Changes what is asked of a model, in tenths of a GPU. */
    demand: (model: Model<Request>, tenths: number) => {
      const sign = tenths > 0 ? 1 : -1;
      for (let i = 0; i < Math.abs(tenths); i++) loads.addDemand(model, REQUEST, sign);
    },
    /** Pumps, has all loads and evictions done, and says what they were: `+MODEL@GPU` or `-MODEL@GPU`. */
    settle: () => {
      loads.pump();
      const done: string[] = [];
      for (let work = sent.shift(); work !== undefined; work = sent.shift()) {
        done.push(`${work.type === "LoadWeights" ? "+" : "-"}${work.modelId}@${work.gpu.gpuId}`);
        loads.onOutcome(work, succeeded(clock.now(), MS));
      }
      return done;
    },
  };
}

function succeeded(beginNs: number, durationNs: number): ActionOutcome {
  const endNs = beginNs + durationNs;
  return { status: ActionStatus.success, message: "", beginNs, endNs };
}

Deno.test("a GPU is given two loads at a time, those in most demand first", () => {
  const { clock, loads, sent, model, demand } = rig([100]);
  const models = [model(), model(), model(), model()];
  models.forEach((one, i) => demand(one, 1 + i));
  loads.pump();
  assert.deepEqual(sent.map(({ modelId }) => modelId), [3, 2]);
  loads.onOutcome(sent[0]!, succeeded(clock.now(), MS));
  assert.deepEqual(sent.map(({ modelId }) => modelId), [3, 2, 1]);
});

Deno.test("how long a load took is what the next is expected to take", () => {
  const { clock, gpus, loads, sent, model, demand } = rig([100]);
  const [a] = [model()];
  demand(a, 1);
  loads.pump();
  assert.equal(sent[0]!.expectedNs, MS);
  loads.onOutcome(sent[0]!, succeeded(clock.now(), 40 * MS));
  loads.evict(gpus[0]!.placements.get(a.id)!);
  loads.pump();
  assert.equal(sent.at(-1)!.type, "LoadWeights");
  assert.equal(sent.at(-1)!.expectedNs, 40 * MS);
});

Deno.test("a further copy goes where it is better off than the others, or nowhere", () => {
  const { gpus, model, demand, settle } = rig([5, 100]);
  const [heavy, light] = [model(10), model()];
  demand(heavy, 30);
  demand(light, 12);
  assert.deepEqual(settle(), ["+0@1", "+1@0"], "the heavy one does not fit beside the light one");
  assert.deepEqual(gpus.map(({ load }) => Math.round(10 * load)), [12, 30]);
  // The light one has more than its GPU can do. With half of it, the other would have more to do than that
  // GPU has now; when hardly anybody asks for the heavy one any more, it would have less.
  demand(heavy, -22);
  assert.deepEqual(settle(), []);
  demand(heavy, -6);
  assert.deepEqual(settle(), ["+1@1"]);
});

Deno.test("room is made by what has no demand, oldest first; then by copies that others have, in less demand", () => {
  const { gpus, model, demand, settle } = rig([10, 10]);
  const [shared, single, other] = [model(), model(), model()];
  demand(shared, 30);
  assert.deepEqual(settle(), ["+0@0", "+0@1"]);
  demand(shared, -26);
  demand(single, 1);
  demand(other, 1);
  assert.equal(settle().length, 2);
  const wanting = model();
  demand(wanting, 1);
  assert.deepEqual(settle(), [], "it is in less demand than each copy of the shared one");
  demand(wanting, 2);
  const [evicted, loaded] = settle();
  assert.match(evicted!, /^-0@/);
  assert.match(loaded!, /^\+3@/);
  demand(shared, -4);
  const last = model();
  demand(last, 1);
  const where = gpus.findIndex(({ placements }) => placements.has(shared.id));
  assert.deepEqual(settle(), [`-0@${where}`, `+4@${where}`], "nobody asks for it any more");
  demand(model(), 9);
  assert.deepEqual(settle(), [], "all that is left is asked for, and nowhere else");
});
