import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { MS, SECOND } from "../core/clock.ts";
import { DEFAULT_CONTROLLER_OPTIONS } from "../controller/controller.ts";
import { findWorkload } from "../client/workloads/registry.ts";
import { Infer4 } from "../scheduler/infer4/infer4.ts";
import {
  actionColumns,
  type ActionRecord,
  type Columns,
  requestColumns,
  type RequestRecord,
} from "../telemetry/records.ts";
import { DEFAULT_WORKER_CONFIG } from "../worker/config.ts";
import { ModelDirs } from "../worker/model_dirs.ts";
import { modelReader } from "../worker/emulated/model.ts";
import { type Fault, FAULT_KINDS, type FaultKind, formatFault, parseFault } from "./faults.ts";
import { STEADY_GPU } from "./gpu_model.ts";
import { violations } from "./invariants.ts";
import { runScenario } from "./scenario.ts";
import { Simulation } from "./simulation.ts";

const ZOO = fileURLToPath(new URL("../../config/modelzoo", import.meta.url));
const readModel = modelReader(ModelDirs.only(ZOO));

interface Played {
  readonly simulation: Simulation;
  readonly requests: readonly RequestRecord[];
  readonly actions: readonly ActionRecord[];
}

/** Two workers of two GPUs, and one client that keeps four requests outstanding to each of two models. */
function play(faults: readonly Fault[], seed = 1, untilNs = 10 * SECOND): Played {
  const requests: RequestRecord[] = [];
  const actions: ActionRecord[] = [];
  const workload = findWorkload("poisson-open-loop");
  const simulation = new Simulation({
    seed,
    workers: 2,
    gpusPerWorker: 2,
    clients: 1,
    network: { latencyNs: MS / 5, jitterNs: MS / 10, bytesPerSecond: 1e9 },
    gpu: { ...STEADY_GPU, noise: 0.02 },
    clockOffsetNs: 100 * SECOND,
    clockDriftPpm: 20,
    controller: DEFAULT_CONTROLLER_OPTIONS,
    registry: true,
    workerConfig: DEFAULT_WORKER_CONFIG,
    makeScheduler: (clock, host) => new Infer4(clock, host),
    readModel,
    makePlan: () => workload.plan(["4", "300"], { zoo: ["resnet50_v2"], azureTraceDir: null }),
    pathOf: (model) => model,
    inputs: false,
    faults,
    telemetry: {
      onRequest: (record) => requests.push(record),
      onAction: (record) => actions.push(record),
    },
    log: () => {},
  });
  simulation.clock.run(untilNs);
  simulation.stop();
  simulation.clock.run(untilNs + 6 * SECOND);
  return { simulation, requests, actions };
}

Deno.test("the same seed gives the same run to the nanosecond, another seed another", () => {
  const trace = (seed: number) => {
    const { requests, actions } = play([], seed, 5 * SECOND);
    const text = (ns: number) => String(ns);
    const rows = <Row>(columns: Columns<Row>, of: readonly Row[]) =>
      of.map((row) => columns.map(([, read]) => read(row)).join("\t")).join("\n");
    return rows(requestColumns(text), requests) + rows(actionColumns(text), actions);
  };
  const first = trace(1);
  assert.ok(first.length > 100_000);
  assert.equal(trace(1), first);
  assert.notEqual(trace(2), first);
});

for (const kind of Object.keys(FAULT_KINDS) as FaultKind[]) {
  Deno.test(`the cluster heals from ${kind}`, () => {
    const fault = { kind, atNs: 5 * SECOND, durationNs: 300 * MS, target: 0 };
    const { simulation, requests } = play([fault], 1, 12 * SECOND);
    assert.deepEqual(violations(simulation), []);
    // A controller that begins anew has its clients load their models again.
    const healedNs = (kind === "controller-restart" ? 9 : 7) * SECOND;
    const share = (fromNs: number, untilNs: number) => {
      const some = requests.filter(({ arrivalNs }) => arrivalNs >= fromNs && arrivalNs < untilNs);
      assert.ok(some.length > 200, `${some.length} requests between ${fromNs} and ${untilNs}`);
      return some.filter(({ status, departureNs, deadlineNs }) =>
        status === 0 && departureNs <= deadlineNs
      ).length / some.length;
    };
    assert.equal(share(3.5 * SECOND, 4.9 * SECOND), 1, "all was well before");
    assert.ok(share(healedNs, 12 * SECOND) >= 0.99);
  });
}

Deno.test("faults are read as they are written, and others refused in words", () => {
  const fault = { kind: "gpu-stuck", atNs: 3.5 * SECOND, durationNs: 200 * MS, target: 1 } as const;
  assert.deepEqual(parseFault("gpu-stuck@3.5:200:1"), fault);
  assert.deepEqual(parseFault(formatFault(fault)), fault);
  assert.equal(parseFault("partition@1:20").target, 0);
  for (const text of ["", "fire@1:2", "gpu-stuck@x:2", "gpu-stuck@1", "toString@1:2"]) {
    assert.throws(() => parseFault(text), /is not a fault: expected KIND@SECONDS:MILLISECONDS/);
  }
});

Deno.test("200 random clusters, workloads and faults keep what is promised", () => {
  let requests = 0;
  for (let seed = 0; seed < 200; seed++) {
    const outcome = runScenario(seed, readModel);
    requests += outcome.requests;
    assert.deepEqual(
      outcome.violations,
      [],
      `${outcome.description}; replay: deno task sim:sweep --seeds 1 --from ${seed} --verbose`,
    );
  }
  assert.ok(requests > 100_000, `${requests} requests`);
});
