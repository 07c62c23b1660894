/** What INFER4 promises, whatever the cluster, the workload and the faults. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { MS, SECOND } from "../../core/clock.ts";
import { Random } from "../../core/random.ts";
import { RequestStatus } from "../../core/status.ts";
import { VirtualClock } from "../../core/virtual_clock.ts";
import type { GpuSpec, ModelSpec } from "../scheduler.ts";
import { TestCluster } from "../test_cluster.ts";
import { Infer4 } from "./infer4.ts";

const model: fc.Arbitrary<ModelSpec> = fc.record({
  pages: fc.integer({ min: 1, max: 12 }),
  sizes: fc.integer({ min: 1, max: 5 }),
  firstMs: fc.double({ min: 0.2, max: 20, noNaN: true }),
  growth: fc.double({ min: 1.05, max: 2, noNaN: true }),
  loadMs: fc.double({ min: 0.5, max: 30, noNaN: true }),
  inputBytes: fc.constantFrom(0, 100, 602_112),
}).map(({ pages, sizes, firstMs, growth, loadMs, inputBytes }) => ({
  weightsPages: pages,
  batchSizes: [1, 2, 4, 8, 16].slice(0, sizes),
  execNs: Array.from({ length: sizes }, (_, i) => Math.round(firstMs * growth ** i * MS)),
  loadWeightsNs: Math.round(loadMs * MS),
  inputBytes,
  outputBytes: 100,
}));

const gpu = fc.record({
  workerId: fc.integer({ min: 0, max: 2 }),
  pages: fc.integer({ min: 1, max: 40 }),
  slowness: fc.double({ min: 0.5, max: 3, noNaN: true }),
});

type Fault = { atMs: number; gpu: number; kind: "lose" | "stick" | "drop"; ms: number };
const fault: fc.Arbitrary<Fault> = fc.record({
  atMs: fc.integer({ min: 0, max: 400 }),
  gpu: fc.nat(5),
  kind: fc.constantFrom("lose", "stick", "drop"),
  ms: fc.integer({ min: 1, max: 120 }),
});

const scenario = fc.record({
  models: fc.array(model, { minLength: 1, maxLength: 6 }),
  gpus: fc.array(gpu, { minLength: 1, maxLength: 6 }),
  faults: fc.array(fault, { maxLength: 4 }),
  /** Requests per second, times their mean SLO, and how that varies. */
  rate: fc.integer({ min: 10, max: 4000 }),
  sloMs: fc.integer({ min: 1, max: 150 }),
  noise: fc.double({ min: 0, max: 0.5, noNaN: true }),
  nsPerByte: fc.constantFrom(0, 1, 8),
  seed: fc.integer(),
});
type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

const DURATION_MS = 400;

/** Runs a scenario; the cluster itself asserts what may never happen. */
function play(s: Scenario): TestCluster {
  const clock = new VirtualClock();
  const cluster = new TestCluster(clock);
  cluster.nsPerByte = s.nsPerByte;
  cluster.scheduler = new Infer4(clock, cluster, { maxBatchSize: 16 });
  const random = new Random(s.seed);
  const alive = new Set<GpuSpec>();
  const specs = s.gpus.map(({ workerId, pages, slowness }, gpuId) => {
    const execNs = (ns: number) => ns * (1 + s.noise * random.float());
    const spec = cluster.addGpu(gpuId, { workerId, pages, slowness, execNs });
    alive.add(spec);
    return spec;
  });
  const workerIds = [...new Set(s.gpus.map(({ workerId }) => workerId))];
  s.models.forEach((spec, id) => cluster.setModel(id, spec, workerIds));
  for (const { atMs, gpu, kind, ms } of s.faults) {
    const spec = specs[gpu % specs.length]!;
    clock.at(atMs * MS, () => {
      if (!alive.has(spec)) return;
      if (kind === "stick") return cluster.stickGpu(spec, ms * MS);
      if (kind === "drop") return cluster.dropWeights(spec, ms % s.models.length);
      alive.delete(spec);
      cluster.loseGpu(spec);
    });
  }
  const arrive = () => {
    if (clock.now() > DURATION_MS * MS) return;
    const sloNs = Math.round(s.sloMs * MS * (0.2 + 1.6 * random.float()));
    cluster.submit(random.below(s.models.length), sloNs);
    clock.at(clock.now() + random.exponential(SECOND / s.rate), arrive);
  };
  clock.at(0, arrive);
  clock.run(2 * SECOND);
  return cluster;
}

Deno.test("whatever happens, every request is answered once, and no GPU is asked the impossible", () => {
  fc.assert(
    fc.property(scenario, (s) => {
      const cluster = play(s);
      for (const request of cluster.requests) {
        assert.notEqual(request.status, null, `request ${request.id} was never answered`);
        if (request.status !== RequestStatus.success) {
          // A refusal after the deadline helps nobody, except of what a worker was given in time.
          const lostAt = s.faults.some(({ kind }) => kind !== "drop");
          assert.ok(lostAt || request.answeredNs <= request.deadlineNs + 20 * MS);
        }
      }
      const demanded = new Set(cluster.requests.map(({ modelId }) => modelId));
      for (const action of cluster.sent) assert.ok(demanded.has(action.modelId));
    }),
    { numRuns: 150 },
  );
});

Deno.test("the same scenario gives the same decisions", () => {
  const trace = (cluster: TestCluster) =>
    cluster.sent.map(({ type, gpu, modelId, latestNs }) => [type, gpu.gpuId, modelId, latestNs]);
  fc.assert(
    fc.property(scenario, (s) => assert.deepEqual(trace(play(s)), trace(play(s)))),
    { numRuns: 20 },
  );
});

Deno.test("a feasible request is not starved: with time to spare and GPUs that keep up, all are good", () => {
  const calm = scenario.filter(({ gpus }) => gpus.every(({ pages }) => pages >= 12))
    .map((s): Scenario => ({ ...s, faults: [], noise: 0, nsPerByte: 0, rate: 10, sloMs: 1000 }));
  fc.assert(
    fc.property(calm, (s) => {
      // SLOs vary from 0.2 to 1.8 times 1 s; the slowest model needs at most 150 ms, cold.
      for (const request of play(s).requests) assert.ok(request.good, `request ${request.id}`);
    }),
    { numRuns: 60 },
  );
});
