import { SECOND } from "../../core/clock.ts";
import type { Model } from "../model.ts";
import { Arrivals, fixedGaps, poissonGaps } from "../generators/arrivals.ts";
import { closedLoop } from "../generators/closed_loop.ts";
import { openLoop } from "../generators/open_loop.ts";
import { type Bursts, burstyRate, constantRate, type Segment } from "../generators/segments.ts";
import { ParameterError } from "./parameters.ts";
import { type Run, workload } from "./workload.ts";

const FIXED_RATE = 5;
const POISSON_RATE = 10;
const ON_NS = 10 * SECOND;
const OFF_NS = 20 * SECOND;

/** Starts anywhere in the cycle, or all models would burst at the same time. */
function someBursts({ random }: Run): Bursts {
  return { onNs: ON_NS, offNs: OFF_NS, phaseNs: random.float() * (ON_NS + OFF_NS) };
}

function openLoops(run: Run, model: Model): void {
  const start = (gaps: typeof fixedGaps, segments: Iterable<Segment<Model>>) =>
    openLoop(run, new Arrivals(gaps(run.random.fork()), segments), (one) => one);
  start(fixedGaps, constantRate(FIXED_RATE, model));
  start(poissonGaps, constantRate(POISSON_RATE, model));
  start(poissonGaps, burstyRate(POISSON_RATE, someBursts(run), model));
}

export const example = workload({
  name: "example",
  summary:
    "every model of the model directory, each with five generators: a fixed rate of 5 requests " +
    "a second; Poisson arrivals, 10 a second; the same in bursts of 10 s with pauses of 20 s; a " +
    "closed loop of 1; and one in such bursts",
  parameters: {},
  example: "",
  plan: (_, { zoo }) => {
    if (zoo.length === 0) throw new ParameterError("the model directory has no models");
    return {
      uses: zoo.map((model) => ({ model, copies: 1 })),
      start: (run, models) => {
        for (const [model] of models) {
          openLoops(run, model!);
          closedLoop(run, [model!], { concurrency: 1 });
          closedLoop(run, [model!], { concurrency: 1, bursts: someBursts(run) });
        }
      },
    };
  },
});
