/** Workloads that vary the SLO, to find out how tight a target can be met. */
import type { Model } from "../model.ts";
import { Arrivals, fixedGaps, poissonGaps } from "../generators/arrivals.ts";
import { closedLoop } from "../generators/closed_loop.ts";
import { inTurn, openLoop } from "../generators/open_loop.ts";
import { periods, seconds } from "../generators/segments.ts";
import { MAX_CONCURRENCY, MAX_COPIES, MAX_PERIOD_S, MAX_RATE, MAX_SLO_FACTOR } from "./limits.ts";
import { choice, integer, model, positive, refuseParameter, signed } from "./parameters.ts";
import { checkedSteps } from "./steps.ts";
import { type Run, workload } from "./workload.ts";

interface SteppedLoad {
  readonly distribution: "poisson" | "fixed-rate";
  /** Requests a second in all. */
  readonly rate: number;
  readonly sloFactors: readonly number[];
  readonly periodNs: number;
}

/** An open loop over the models whose slo_factor is stepped. */
function steppedSlo(
  run: Run,
  models: readonly Model[],
  { distribution, rate, sloFactors, periodNs }: SteppedLoad,
  finished: () => void,
): void {
  const random = run.random.fork();
  const gaps = (distribution === "poisson" ? poissonGaps : fixedGaps)(run.random.fork());
  // In turn, a fixed rate is one for each copy; at random, a Poisson process is one for each copy.
  const next = distribution === "poisson"
    ? () => models[random.below(models.length)]!
    : inTurn(models);
  const arrivals = new Arrivals(gaps, periods(sloFactors, periodNs, () => rate));
  openLoop(run, arrivals, (sloFactor) => ({ model: next(), options: { sloFactor } }), finished);
}

const distributions = ["poisson", "fixed-rate"] as const;
const rateText = "requests a second in all";
const startText = "the first slo_factor: a multiple of the model's time at batch size 1";
const byText = "what is added to the slo_factor, or what it is multiplied by";

export const sloExp1 = workload({
  name: "slo-exp-1",
  summary:
    "an open loop over copies of one model, whose slo_factor is stepped each period; ends when " +
    "it would pass slo-end",
  parameters: {
    model: model("the model to copy: a name or a path", null),
    copies: integer("copies of the model", null, 1, MAX_COPIES),
    distribution: choice("poisson or fixed-rate", distributions),
    rate: positive(rateText, null, MAX_RATE),
    "slo-start": positive(startText, null, MAX_SLO_FACTOR),
    "slo-end": positive("the last slo_factor", null, MAX_SLO_FACTOR),
    "slo-factor": signed(byText, MAX_SLO_FACTOR),
    "slo-op": choice("add or mul", ["add", "mul"]),
    period: positive("seconds at each slo_factor", null, MAX_PERIOD_S),
  },
  example: "resnet50_v2 10 poisson 300 2 32 2 mul 10",
  plan: (values) => {
    const sloFactors = checkedSteps("slo-factor", {
      start: values["slo-start"],
      end: values["slo-end"],
      by: values["slo-factor"],
      op: values["slo-op"],
    });
    const { model, copies, distribution, rate } = values;
    const load = { distribution, rate, sloFactors, periodNs: seconds(values.period) };
    return {
      uses: [{ model, copies }],
      start: (run, [models], finished) => steppedSlo(run, models!, load, finished),
    };
  },
});

export const sloExp2 = workload({
  name: "slo-exp-2",
  summary:
    "slo-exp-1 in the foreground, and in the background closed loops on other copies of the " +
    "model with an SLO of their own",
  parameters: {
    model: model("the model to copy: a name or a path", null),
    "copies-fg": integer("copies in the foreground", null, 1, MAX_COPIES),
    "dist-fg": choice("poisson or fixed-rate", distributions),
    "rate-fg": positive(rateText, null, MAX_RATE),
    "slo-start-fg": positive(startText, null, MAX_SLO_FACTOR),
    "slo-end-fg": positive("the last slo_factor", null, MAX_SLO_FACTOR),
    "slo-factor-fg": signed(byText, MAX_SLO_FACTOR),
    "slo-op-fg": choice("add or mul", ["add", "mul"]),
    "period-fg": positive("seconds at each slo_factor", null, MAX_PERIOD_S),
    "copies-bg": integer("copies in the background", null, 0, MAX_COPIES),
    "concurrency-bg": integer("requests outstanding on each of them", null, 1, MAX_CONCURRENCY),
    "slo-bg": positive("their slo_factor", null, MAX_SLO_FACTOR),
  },
  example: "resnet50_v2 5 poisson 200 2 32 2 mul 10 10 1 100",
  plan: (values) => {
    const sloFactors = checkedSteps("slo-factor-fg", {
      start: values["slo-start-fg"],
      end: values["slo-end-fg"],
      by: values["slo-factor-fg"],
      op: values["slo-op-fg"],
    });
    const copies = values["copies-bg"];
    const concurrency = values["concurrency-bg"];
    if (copies * concurrency > MAX_CONCURRENCY) {
      const most = Math.floor(MAX_CONCURRENCY / copies);
      throw refuseParameter("concurrency-bg", concurrency, `at most ${most} for ${copies} copies`);
    }
    const load = {
      distribution: values["dist-fg"],
      rate: values["rate-fg"],
      sloFactors,
      periodNs: seconds(values["period-fg"]),
    };
    const options = { sloFactor: values["slo-bg"] };
    const { model } = values;
    const background = copies === 0 ? [] : [{ model, copies }];
    return {
      uses: [{ model, copies: values["copies-fg"] }, ...background],
      start: (run, [foreground, others = []], finished) => {
        for (const copy of others) closedLoop(run, [copy], { concurrency, infer: () => options });
        steppedSlo(run, foreground!, load, finished);
      },
    };
  },
});
