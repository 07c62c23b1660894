/** Workloads of closed loops: their load follows the speed of the server. */
import { SECOND } from "../../core/clock.ts";
import type { InferOptions, Model } from "../model.ts";
import { closedLoop } from "../generators/closed_loop.ts";
import { MAX_CONCURRENCY, MAX_COPIES, MAX_SLO_FACTOR, RESNET } from "./limits.ts";
import { integer, model, refuseParameter } from "./parameters.ts";
import { workload } from "./workload.ts";

const modelParameter = model("the model to copy: a name or a path", RESNET);

export const simple = workload({
  name: "simple",
  summary: "two copies of one model, each with one request outstanding at a time",
  parameters: { model: modelParameter },
  example: "resnet50_v2",
  plan: ({ model }) => ({
    uses: [{ model, copies: 2 }],
    start: (run, [copies]) => {
      for (const copy of copies!) closedLoop(run, [copy], { concurrency: 1 });
    },
  }),
});

const STEP_NS = 10 * SECOND;

/** The slo_factor of each copy after so many steps of ten seconds. */
export const SLO_FACTORS: readonly ((step: number) => number)[] = [
  // A night of steps would be more than a number holds.
  (step) => Math.min(4 * 1.25 ** step, MAX_SLO_FACTOR),
  (step) => 4 + step,
  (step) => step % 2 === 0 ? 10 : 1,
];

export const simpleSloFactor = workload({
  name: "simple-slo-factor",
  summary:
    "three copies of resnet50_v2, each with one request outstanding; every 10 s the slo_factor " +
    "of the first is multiplied by 1.25 (from 4), of the second raised by 1 (from 4), of the third " +
    "changes between 10 and 1",
  parameters: {},
  example: "",
  plan: () => ({
    uses: [{ model: RESNET, copies: SLO_FACTORS.length }],
    start: (run, [copies]) => {
      for (const [i, copy] of copies!.entries()) {
        const sloFactor = SLO_FACTORS[i]!;
        const infer = (timeNs: number): InferOptions => ({
          sloFactor: sloFactor(Math.floor(timeNs / STEP_NS)),
        });
        closedLoop(run, [copy], { concurrency: 1, infer });
      }
    },
  }),
});

export const simpleParametric = workload({
  name: "simple-parametric",
  summary:
    "copies of resnet50_v2 divided among clients, each a closed loop over its own copies; ends " +
    "when each client has had its requests answered",
  parameters: {
    models: integer("copies of resnet50_v2", null, 1, MAX_COPIES),
    clients: integer("closed loops, at most one a copy", null, 1, MAX_COPIES),
    concurrency: integer("requests that each client keeps outstanding", null, 1, MAX_CONCURRENCY),
    requests: integer("requests of each client in all", null, 1, Number.MAX_SAFE_INTEGER),
  },
  example: "10 2 4 1000",
  plan: ({ models, clients, concurrency, requests }) => {
    if (clients > models) {
      throw refuseParameter("clients", clients, `at most ${models}, one for each of the models`);
    }
    if (clients * concurrency > MAX_CONCURRENCY) {
      const most = Math.floor(MAX_CONCURRENCY / clients);
      throw refuseParameter("concurrency", concurrency, `at most ${most} for ${clients} clients`);
    }
    return {
      uses: [{ model: RESNET, copies: models }],
      start: (run, [copies], finished) => {
        let running = clients;
        const onFinished = () => {
          if (--running === 0) finished();
        };
        for (const own of partition(copies!, clients)) {
          closedLoop(run, own, { concurrency, requests, finished: onFinished });
        }
      },
    };
  },
});

/** Deals models out, so that each part has as many as another or one more. */
export function partition(models: readonly Model[], parts: number): Model[][] {
  const dealt = Array.from({ length: parts }, (): Model[] => []);
  for (const [i, one] of models.entries()) dealt[i % parts]!.push(one);
  return dealt;
}

export const spam = workload({
  name: "spam",
  summary: "100 copies of one model, each with 100 requests outstanding: far too much on purpose",
  parameters: { model: modelParameter },
  example: "resnet50_v2",
  plan: ({ model }) => spamPlan(model, 100, 100),
});

export const singleSpam = workload({
  name: "single-spam",
  summary: "one copy of resnet50_v2 with 1000 requests outstanding",
  parameters: {},
  example: "",
  plan: () => spamPlan(RESNET, 1, 1000),
});

export const comparisonExperiment2 = workload({
  name: "comparison_experiment2",
  summary: "copies of resnet50_v2, each with some requests outstanding",
  parameters: {
    num_models: integer("copies of resnet50_v2", 15, 1, MAX_COPIES),
    concurrency: integer("requests outstanding on each copy", 16, 1, MAX_CONCURRENCY),
  },
  example: "15 16",
  plan: ({ num_models, concurrency }) => {
    if (num_models * concurrency > MAX_CONCURRENCY) {
      const most = Math.floor(MAX_CONCURRENCY / num_models);
      throw refuseParameter("concurrency", concurrency, `at most ${most} for ${num_models} models`);
    }
    return spamPlan(RESNET, num_models, concurrency);
  },
});

function spamPlan(
  model: string,
  copies: number,
  concurrency: number,
): ReturnType<typeof simple.plan> {
  return {
    uses: [{ model, copies }],
    start: (run, [all]) => {
      for (const copy of all!) closedLoop(run, [copy], { concurrency });
    },
  };
}
