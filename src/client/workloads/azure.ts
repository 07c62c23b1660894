/** Replays of the Azure Functions trace: see ../azure. */
import type { Model } from "../model.ts";
import { meanRate, replay, shuffled } from "../azure/replay.ts";
import { type ModelTrace, readModelTrace } from "../azure/trace.ts";
import { MINUTES, TraceError, traceFile } from "../azure/trace_file.ts";
import { Arrivals, poissonGaps } from "../generators/arrivals.ts";
import { openLoop } from "../generators/open_loop.ts";
import { seconds } from "../generators/segments.ts";
import { MAX_PERIOD_S, RESNET } from "./limits.ts";
import { flag, integer, ParameterError, positive } from "./parameters.ts";
import { checkedSteps } from "./steps.ts";
import { type ModelUse, type Plan, type Surroundings, workload } from "./workload.ts";

/** Requests for each invocation of the trace, for one worker at load factor 1. */
const SCALE = 0.125;
/** Copies by memory load factor from 1: of each model of the zoo, or of resnet50_v2 alone. */
const ZOO_COPIES = [3, 13, 29, 66];
const RESNET_COPIES = [200, 800, 1800, 3600];
const HALF_MODELS = 3100;
const DAYS = 14;

interface AzureOptions {
  readonly uses: readonly ModelUse[];
  readonly day: number;
  /** Load factors times workers, in one period after the other. */
  readonly loads: readonly number[];
  readonly periodNs: number;
  readonly intervalNs: number;
  /** Start at a random minute instead of the first. */
  readonly randomStart: boolean;
  readonly endNs: number;
}

function azurePlan(options: AzureOptions, { azureTraceDir }: Surroundings): Plan {
  const { uses, day, loads, periodNs, intervalNs, randomStart, endNs } = options;
  const copies = uses.reduce((sum, use) => sum + use.copies, 0);
  const trace = readDay(azureTraceDir, day, copies);
  const scales = loads.map((load) => load * SCALE);
  return {
    uses,
    notes: describe(trace, scales),
    start: (run, groups, finished) => {
      const random = run.random.fork();
      // Otherwise the busiest functions would all fall to copies of the model that is first by name.
      const models: Model[] = shuffled(groups.flat(), random);
      const firstMinute = randomStart ? random.below(MINUTES) : 0;
      const segments = replay(trace, { scales, periodNs, intervalNs, firstMinute, endNs });
      const arrivals = new Arrivals(poissonGaps(run.random.fork()), segments);
      openLoop(run, arrivals, (mix) => models[mix.pick(random)]!, finished);
    },
  };
}

function readDay(directory: string | null, day: number, models: number): ModelTrace {
  if (directory === null) {
    throw new ParameterError(
      "AZURE_TRACE_DIR is not set: set it to the directory with the Azure Functions trace, " +
        "invocations_per_function_md.anon.d01.csv and so on, or make one with bench/trace.ts",
    );
  }
  try {
    return readModelTrace(traceFile(directory, day), models);
  } catch (error) {
    if (error instanceof TraceError) throw new ParameterError(error.message);
    throw error;
  }
}

function describe(trace: ModelTrace, scales: readonly number[]): string[] {
  const { functions, models, invocations } = trace;
  const rates = scales.map((scale) => (meanRate(trace) * scale).toPrecision(3));
  const rate = rates.length === 1 ? rates[0] : `${rates[0]} to ${rates.at(-1)}`;
  const unused = models - functions;
  return [
    `Azure trace: ${functions} functions with ${invocations} invocations in the day, on ${models} ` +
    `models; ${rate} requests/s on average` +
    (unused > 0 ? `; ${unused} models get none, as there are more models than functions` : ""),
  ];
}

/** The same number of copies of each model. */
function copiesOfEach(zoo: readonly string[], copies: number): ModelUse[] {
  if (zoo.length === 0) throw new ParameterError("the model directory has no models");
  return zoo.map((model) => ({ model, copies }));
}

/** As many models in all, in copies as equal in number as can be. */
function modelsInAll(zoo: readonly string[], models: number): ModelUse[] {
  const each = Math.floor(models / zoo.length);
  const more = models % zoo.length;
  return copiesOfEach(zoo, each).map(({ model, copies }, i) => ({
    model,
    copies: copies + (i < more ? 1 : 0),
  })).filter(({ copies }) => copies > 0);
}

const workersParameter = integer("workers that the load is meant for", 1, 1, 10_000);
const memoryText = "1 to 4: 3, 13, 29 or 66 copies of each model, or 200, 800, 1800 or 3600 of " +
  "resnet50_v2";

export const azure = workload({
  name: "azure",
  summary:
    "replays a day of the Azure Functions 2019 trace: the functions, by popularity, are dealt " +
    "to models, and each minute's invocations × load_factor × 0.125 × num_workers become Poisson " +
    "arrivals",
  parameters: {
    num_workers: workersParameter,
    use_all_models: flag("1: copies of every model; 0: copies of resnet50_v2", true),
    load_factor: positive("multiplies the load", 1, 1e6),
    memory_load_factor: integer(memoryText, 4, 1, 4),
    interval: positive("seconds for each minute of the trace; its rates stay the same", 60, 3600),
    trace: integer("day of the trace", 1, 1, DAYS),
    randomise: flag("1: start at a random minute of the day, by --seed", false),
  },
  example: "6 1 1.0 1 60 1 0",
  plan: (values, surroundings) => {
    const { num_workers, use_all_models, load_factor, memory_load_factor } = values;
    const intervalNs = seconds(values.interval);
    return azurePlan({
      uses: use_all_models
        ? copiesOfEach(surroundings.zoo, ZOO_COPIES[memory_load_factor - 1]!)
        : [{ model: RESNET, copies: RESNET_COPIES[memory_load_factor - 1]! }],
      day: values.trace,
      loads: [load_factor * num_workers],
      periodNs: Infinity,
      intervalNs,
      randomStart: values.randomise,
      endNs: MINUTES * intervalNs,
    }, surroundings);
  },
});

interface Variant {
  readonly name: string;
  readonly summary: string;
  readonly uses: (zoo: readonly string[]) => readonly ModelUse[];
  readonly intervalS?: number;
  readonly randomStart?: boolean;
}

function variant({ name, summary, uses, intervalS = 60, randomStart = false }: Variant) {
  return workload({
    name,
    summary,
    parameters: {},
    example: "",
    plan: (_, surroundings) =>
      azurePlan({
        uses: uses(surroundings.zoo),
        day: 1,
        loads: [1],
        periodNs: Infinity,
        intervalNs: seconds(intervalS),
        randomStart,
        endNs: MINUTES * seconds(intervalS),
      }, surroundings),
  });
}

export const azureSmall = variant({
  name: "azure_small",
  summary: "azure for one worker with 3 copies of each model",
  uses: (zoo) => copiesOfEach(zoo, ZOO_COPIES[0]!),
});

export const azureHalf = variant({
  name: "azure_half",
  summary: "azure for one worker with 3100 models in all",
  uses: (zoo) => modelsInAll(zoo, HALF_MODELS),
});

export const azureFast = variant({
  name: "azure_fast",
  summary:
    "azure for one worker with 66 copies of each model; each minute of the trace takes a second, " +
    "from a random one on",
  uses: (zoo) => copiesOfEach(zoo, ZOO_COPIES[3]!),
  intervalS: 1,
  randomStart: true,
});

export const azureSingle = variant({
  name: "azure_single",
  summary:
    "azure for one worker with one copy of resnet50_v2, which gets all functions; each minute " +
    "of the trace takes a second",
  uses: () => [{ model: RESNET, copies: 1 }],
  intervalS: 1,
});

export const azureScalabilityExp = workload({
  name: "azure_scalability_exp",
  summary:
    "azure with a load factor that is multiplied each period; ends when it would pass load_max",
  parameters: {
    num_workers: { ...workersParameter, fallback: null },
    load_min: positive("the first load factor", null, 1e6),
    load_max: positive("the last load factor", null, 1e6),
    load_inc: positive("what the load factor is multiplied by", null, 1e6),
    period: positive("seconds at each load factor", null, MAX_PERIOD_S),
    memory_load_factor: { ...integer(memoryText, null, 1, 4) },
  },
  example: "6 0.5 4 2 60 1",
  plan: (values, surroundings) => {
    const loads = checkedSteps("load_inc", {
      start: values.load_min,
      end: values.load_max,
      by: values.load_inc,
      op: "mul",
    }).map((load) => load * values.num_workers);
    return azurePlan({
      uses: copiesOfEach(surroundings.zoo, ZOO_COPIES[values.memory_load_factor - 1]!),
      day: 1,
      loads,
      periodNs: seconds(values.period),
      intervalNs: seconds(60),
      randomStart: false,
      endNs: Infinity,
    }, surroundings);
  },
});
