/** Random clusters, workloads and faults by seed, and checks of what is guaranteed. */
import { MS, SECOND, US } from "../core/clock.ts";
import { Random } from "../core/random.ts";
import { DEFAULT_CONTROLLER_OPTIONS } from "../controller/controller.ts";
import { findWorkload } from "../client/workloads/registry.ts";
import { Infer4 } from "../scheduler/infer4/infer4.ts";
import type { InferAction, Request, SchedulerHost } from "../scheduler/scheduler.ts";
import type { BackendModel, Failure } from "../worker/backend.ts";
import { DEFAULT_WORKER_CONFIG } from "../worker/config.ts";
import { FAULT_KINDS, type FaultKind, formatFault, randomFaults } from "./faults.ts";
import { GoodputMeter, violations } from "./invariants.ts";
import { Simulation, type SimulationOptions } from "./simulation.ts";

/** Serving has begun by then: models have been loaded, and a second has passed without loads. */
const BEGIN_NS = 3 * SECOND;
/** Faults are over by then, and what they did has healed a second later. */
const HEALED_NS = 6 * SECOND;
const END_NS = 9 * SECOND;
/** Answers that are still to come after the end have come by then. */
const QUIET_NS = END_NS + 6 * SECOND;
/** The share of good answers after faults, of that before, that counts as healed. */
const HEALED_SHARE = 0.99;

export interface ScenarioOutcome {
  /** What was simulated, in words. */
  readonly description: string;
  readonly requests: number;
  readonly good: number;
  /** What should have held and did not. */
  readonly violations: readonly string[];
}

/** The simulator's options for a seed, and what they are, in words. */
function scenario(
  seed: number,
  readModel: (path: string, gpus: number) => BackendModel | Failure,
): { options: Omit<SimulationOptions, "telemetry">; description: string; crowded: boolean } {
  const random = new Random(seed);
  const workers = 1 + random.below(4);
  const gpusPerWorker = 1 + random.below(3);
  const clients = 1 + random.below(3);
  const models = 1 + random.below(12);
  const pages = 7 * (2 + random.below(8));
  const maxBatchSize = [1, 4, 8, 16][random.below(4)]!;
  // At most 60 % of what the GPUs can do one by one, so that there is time left to heal in. What has
  // to be loaded again and again would take more.
  const load = 0.1 + 0.5 * random.float();
  const oneByOne = workers * gpusPerWorker * SECOND / (3.3 * MS);
  const rate = Math.max(2, Math.round(load * oneByOne / clients));
  // A deadline that a client knows lets its requests wait for a connection and be sent again.
  const slo = random.below(2) === 0 ? {} : { sloNs: 100 * MS };
  const crowded = clients * models * 7 > workers * gpusPerWorker * pages * 0.8;
  const latencyNs = random.below(2000) * US;
  const jitterNs = random.below(500) * US;
  const noise = random.below(3) * 0.05;
  const kinds = Object.keys(FAULT_KINDS) as FaultKind[];
  const faults = randomFaults(random, random.below(4), BEGIN_NS, HEALED_NS, kinds);
  const parameters = [String(models), String(rate)];
  // By the seed itself: seeds that once failed mean the same as then.
  const registry = seed % 2 === 1;
  const uploads = seed % 4 >= 2;
  const description = `${workers} workers × ${gpusPerWorker} GPUs × ${pages} pages, ` +
    `${clients} clients × poisson-open-loop ${parameters.join(" ")}, max batch ${maxBatchSize}, ` +
    ("sloNs" in slo ? "deadlines of clients, " : "") +
    `latency ${latencyNs / US} µs ± ${jitterNs / US}, noise ${noise}, ` +
    `${registry ? "a" : "no"} registry, ${uploads ? "uploads, " : ""}faults: ` +
    (faults.length === 0 ? "none" : faults.map(formatFault).join(" ")) +
    (crowded ? " (crowded)" : "");
  const workload = findWorkload("poisson-open-loop");
  const options = {
    seed,
    workers,
    gpusPerWorker,
    clients,
    network: { latencyNs, jitterNs, bytesPerSecond: 1e9 },
    gpu: { noise, stallEvery: Infinity, stallNs: 0, slowClock: 1 },
    clockOffsetNs: 1000 * SECOND,
    clockDriftPpm: 50,
    controller: { ...DEFAULT_CONTROLLER_OPTIONS, maxBatchSize },
    registry,
    workerConfig: {
      ...DEFAULT_WORKER_CONFIG,
      weights_cache_size: pages * DEFAULT_WORKER_CONFIG.weights_cache_page_size,
    },
    makeScheduler: (clock, host) => new Infer4(clock, host, { maxBatchSize }),
    readModel,
    makePlan: () => workload.plan(parameters, { zoo: ["resnet50_v2"], azureTraceDir: null }),
    pathOf: (model) => model,
    ...slo,
    inputs: false,
    ...(uploads ? { uploadsLike: "resnet50_v2" } : {}),
    faults,
    log: () => {},
  } satisfies Omit<SimulationOptions, "telemetry">;
  return { options, description, crowded };
}

/** Simulates the cluster, workload and faults of a seed. */
export function runScenario(
  seed: number,
  readModel: (path: string, gpus: number) => BackendModel | Failure,
): ScenarioOutcome {
  const { options, description, crowded } = scenario(seed, readModel);
  const meter = new GoodputMeter();
  let requests = 0;
  let good = 0;
  let plannedLate = 0;
  const simulation = new Simulation({
    ...options,
    makeScheduler: (clock, host) =>
      options.makeScheduler(
        clock,
        watched(host, (action) => {
          if (action.requests.some(late(action.expectedEndNs))) plannedLate++;
        }),
      ),
    telemetry: {
      onRequest: (record) => {
        meter.onRequest(record);
        requests++;
        if (record.status === 0 && record.departureNs <= record.deadlineNs) good++;
      },
      onAction: () => {},
    },
  });
  let found: string[];
  try {
    simulation.clock.run(END_NS);
    simulation.stop();
    simulation.clock.run(QUIET_NS);
    found = violations(simulation);
    if (requests === 0) found.push("nothing was requested");
    const { servedAfterFaults: served, lateAfterFaults: late } = simulation.uploads;
    if (options.uploadsLike !== undefined && !crowded && (served === 0 || late > 0)) {
      found.push(`after the faults ${served} uploads were served, and ${late} too late`);
    }
    if (plannedLate > 0) found.push(`${plannedLate} actions were planned to end after a deadline`);
    found.push(...notHealed(meter, options, crowded));
  } catch (error) {
    found = [`the simulation failed: ${error instanceof Error ? error.stack : String(error)}`];
  }
  return { description, requests, good, violations: found };
}

/** The host, with a look at each inference that the scheduler sends. */
function watched<R extends Request>(
  host: SchedulerHost<R>,
  onInfer: (action: InferAction<R>) => void,
): SchedulerHost<R> {
  return {
    send: (action) => {
      if (action.type === "Infer") onInfer(action);
      host.send(action);
    },
    refuse: (request, status, message) => host.refuse(request, status, message),
    succeed: (action) => host.succeed(action),
    transferNs: (workerId, bytes) => host.transferNs(workerId, bytes),
  };
}

const late = (endNs: number) => ({ deadlineNs }: { readonly deadlineNs: number }) =>
  endNs > deadlineNs;

/** Whether goodput did not come back to its level within a second after the faults had healed. */
function notHealed(
  meter: GoodputMeter,
  { faults }: Omit<SimulationOptions, "telemetry">,
  crowded: boolean,
): string[] {
  // Where models do not all fit, how much is good depends on which are asked for, not only on faults.
  if (crowded) return [];
  // The first second of serving is spent on loading weights.
  const before = faults.length > 0 ? HEALED_SHARE : 1;
  // A controller that begins anew has clients load their models again, which takes another second.
  const loadingNs = faults.some(({ kind }) => kind === "controller-restart") ? SECOND : 0;
  const after = meter.share(HEALED_NS + SECOND + loadingNs, END_NS);
  return after >= before * HEALED_SHARE
    ? []
    : [`after the faults ${(100 * after).toFixed(2)} % of answers are good`];
}
