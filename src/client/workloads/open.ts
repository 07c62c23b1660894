/** Workloads of open loops whose models are copies of resnet50_v2. */
import { SECOND } from "../../core/clock.ts";
import type { Random } from "../../core/random.ts";
import type { Model } from "../model.ts";
import { Arrivals, poissonGaps } from "../generators/arrivals.ts";
import { openLoop } from "../generators/open_loop.ts";
import { constantRate, periods, seconds, type Segment } from "../generators/segments.ts";
import { MAX_COPIES, MAX_PERIOD_S, MAX_RATE, RESNET } from "./limits.ts";
import { choice, integer, positive, signed } from "./parameters.ts";
import { checkedSteps } from "./steps.ts";
import { type Plan, type Run, workload } from "./workload.ts";

/**
 * A Poisson process whose requests go to the models at random: which is one process for each model,
 * all independent, that share the rate evenly.
 */
export function poissonOver(
  run: Run,
  models: readonly Model[],
  segments: Iterable<Segment<unknown>>,
  finished?: () => void,
): void {
  const random = run.random.fork();
  const arrivals = new Arrivals(poissonGaps(run.random.fork()), segments);
  openLoop(run, arrivals, () => oneOf(models, random), finished);
}

function oneOf(models: readonly Model[], random: Random): Model {
  return models[random.below(models.length)]!;
}

function poissonPlan(copies: number, rate: number): Plan {
  return {
    uses: [{ model: RESNET, copies }],
    start: (run, [models]) => poissonOver(run, models!, constantRate(rate, null)),
  };
}

export const poissonOpenLoop = workload({
  name: "poisson-open-loop",
  summary: "Poisson arrivals, spread evenly over copies of resnet50_v2",
  parameters: {
    num_models: integer("copies of resnet50_v2", null, 1, MAX_COPIES),
    rate: positive("requests a second in all", null, MAX_RATE),
  },
  example: "10 500",
  plan: ({ num_models, rate }) => poissonPlan(num_models, rate),
});

export const comparisonExperiment = workload({
  name: "comparison_experiment",
  summary: "Poisson arrivals, spread evenly over copies of resnet50_v2",
  parameters: {
    num_models: integer("copies of resnet50_v2", 15, 1, MAX_COPIES),
    total_requests: positive("requests a second in all", 1000, MAX_RATE),
  },
  example: "15 1000",
  plan: ({ num_models, total_requests }) => poissonPlan(num_models, total_requests),
});

export const scalabilityExp1 = workload({
  name: "scalability-exp-1",
  summary:
    "Poisson arrivals over copies of resnet50_v2, whose rate is stepped each period; ends when " +
    "it would pass rate-max",
  parameters: {
    "num-models": integer("copies of resnet50_v2", null, 1, MAX_COPIES),
    "rate-min": positive("requests a second in all at first", null, MAX_RATE),
    "rate-max": positive("the last rate", null, MAX_RATE),
    "rate-factor": signed("what is added to the rate, or what it is multiplied by", MAX_RATE),
    "rate-op": choice("add or mul", ["add", "mul"]),
    period: positive("seconds at each rate", null, MAX_PERIOD_S),
  },
  example: "100 200 1000 200 add 10",
  plan: (values) => {
    const rates = checkedSteps("rate-factor", {
      start: values["rate-min"],
      end: values["rate-max"],
      by: values["rate-factor"],
      op: values["rate-op"],
    });
    return {
      uses: [{ model: RESNET, copies: values["num-models"] }],
      start: (run, [models], finished) =>
        poissonOver(run, models!, periods(rates, seconds(values.period), (rate) => rate), finished),
    };
  },
});

/** How many copies get which rate. */
const FILL: readonly (readonly [copies: number, rateEach: number])[] = [
  [1, 1000],
  [10, 10],
  [400, 1],
];

export const fillMemory = workload({
  name: "fill_memory",
  summary:
    "411 copies of resnet50_v2 with Poisson arrivals: one gets 1000 requests a second, ten get " +
    "10 each, 400 get 1 each",
  parameters: {},
  example: "",
  plan: () => ({
    uses: FILL.map(([copies]) => ({ model: RESNET, copies })),
    start: (run, groups) => {
      for (const [i, [copies, rateEach]] of FILL.entries()) {
        poissonOver(run, groups[i]!, constantRate(copies * rateEach, null));
      }
    },
  }),
});

const BURSTY_LEAD_IN_NS = 300 * SECOND;
const BURSTY_RATE = 1000;
const BURSTY_STEADY_RATE = 200;

/** The number of models among which the bursty requests are spread, from second to second. */
function* spreads(models: number): Generator<Segment<number>> {
  yield { rate: 0, endNs: BURSTY_LEAD_IN_NS, value: 0 };
  for (let value = 1; value <= models; value++) {
    yield { rate: BURSTY_RATE, endNs: BURSTY_LEAD_IN_NS + value * SECOND, value };
  }
}

export const burstyExperiment = workload({
  name: "bursty_experiment",
  summary: "one copy of resnet50_v2 gets 200 requests a second all the time; after 300 s, 1000 a " +
    "second are spread over one other copy, a second later over two, and so on; ends after num_models",
  parameters: { num_models: integer("copies for the bursts", 3600, 1, MAX_COPIES) },
  example: "3600",
  plan: ({ num_models }) => ({
    uses: [{ model: RESNET, copies: 1 }, { model: RESNET, copies: num_models }],
    start: (run, [steady, bursty], finished) => {
      poissonOver(run, steady!, constantRate(BURSTY_STEADY_RATE, null));
      const random = run.random.fork();
      const arrivals = new Arrivals(poissonGaps(run.random.fork()), spreads(num_models));
      openLoop(run, arrivals, (models) => bursty![random.below(models)]!, finished);
    },
  }),
});
