/**
 * How well INFER4 schedules, in virtual time: `deno run bench/scheduler_experiments.ts [NAME…]`.
 *
 * GPUs have resnet50_v2's published profile and take exactly as long as it says. Requests are Poisson,
 * spread evenly over the models. Tables are Markdown, for docs/scheduler.md.
 */
import { MS, SECOND } from "../src/core/clock.ts";
import { Random } from "../src/core/random.ts";
import { RequestStatus } from "../src/core/status.ts";
import { VirtualClock } from "../src/core/virtual_clock.ts";
import { Infer4 } from "../src/scheduler/infer4/infer4.ts";
import { RESNET50, TestCluster } from "../src/scheduler/test_cluster.ts";

/** Requests that arrive earlier are served but not counted: models are being loaded. */
const WARM_UP_NS = SECOND;

interface Experiment {
  readonly gpus: number;
  readonly models: number;
  readonly ratePerSecond: number;
  readonly seconds: number;
  readonly sloNs: number;
  readonly maxBatchSize: number;
}

interface Outcome {
  readonly offered: number;
  readonly good: number;
  /** Latencies of good requests, ascending, in nanoseconds. */
  readonly latenciesNs: Float64Array;
  /** The longest time from the moment a deadline became impossible to the refusal, in nanoseconds. */
  readonly slowestRefusalNs: number;
}

function run({ gpus, models, ratePerSecond, seconds, sloNs, maxBatchSize }: Experiment): Outcome {
  const clock = new VirtualClock();
  const cluster = new TestCluster(clock);
  cluster.keepSent = false;
  cluster.scheduler = new Infer4(clock, cluster, { maxBatchSize });
  const soonest = new SoonestFree(clock, cluster, gpus);
  for (let gpu = 0; gpu < gpus; gpu++) cluster.addGpu(gpu, { pages: 1376 });
  for (let model = 0; model < models; model++) cluster.setModel(model, RESNET50);
  const latenciesNs: number[] = [];
  let offered = 0;
  let slowestRefusalNs = 0;
  cluster.onAnswer = (request) => {
    const { arrivalNs, deadlineNs, answeredNs } = request;
    if (arrivalNs < WARM_UP_NS) return;
    offered++;
    if (request.good) latenciesNs.push(answeredNs - arrivalNs);
    else if (request.status !== RequestStatus.success) {
      const impossibleNs = Math.max(arrivalNs, soonest.impossibleSince(deadlineNs, arrivalNs));
      slowestRefusalNs = Math.max(slowestRefusalNs, answeredNs - impossibleNs);
    }
  };
  const random = new Random(1);
  const endNs = WARM_UP_NS + seconds * SECOND;
  for (let t = 0; t < endNs;) {
    cluster.submit(random.below(models), sloNs);
    // What has been answered is not needed again; minutes of it would fill memory.
    if (cluster.requests.length > 100_000) cluster.requests.length = 0;
    t += random.exponential(SECOND / ratePerSecond);
    clock.run(t);
  }
  clock.advance(SECOND);
  return {
    offered,
    good: latenciesNs.length,
    latenciesNs: Float64Array.from(latenciesNs).sort(),
    slowestRefusalNs,
  };
}

/** Remembers when the GPU that is free first would be free, as work was given out. */
class SoonestFree {
  readonly #times: number[] = [];
  readonly #soonest: number[] = [];

  constructor(clock: VirtualClock, cluster: TestCluster, gpus: number) {
    const freeNs = new Map<unknown, number>();
    const send = cluster.send.bind(cluster);
    cluster.send = (action) => {
      if (action.type === "Infer") {
        freeNs.set(action.gpu, action.expectedEndNs);
        this.#times.push(clock.now());
        this.#soonest.push(freeNs.size < gpus ? 0 : Math.min(...freeNs.values()));
      }
      send(action);
    };
  }

  /** The first moment from `fromNs` on at which not even a batch of one could have made the deadline. */
  impossibleSince(deadlineNs: number, fromNs: number): number {
    const lastStartNs = deadlineNs - RESNET50.execNs[0]!;
    let i = this.#times.length;
    while (i > 0 && this.#times[i - 1]! >= fromNs && this.#soonest[i - 1]! > lastStartNs) i--;
    return Math.min(lastStartNs, this.#times[i] ?? Infinity);
  }
}

const percent = (part: number, whole: number) => `${(100 * part / whole).toFixed(3)} %`;
const ms = (ns: number | undefined) => ((ns ?? NaN) / MS).toFixed(1);
const at = (values: Float64Array, share: number) => values[Math.floor(values.length * share)];

/** Most requests per second that the GPUs can do, in batches of the largest size. */
function capacity(gpus: number, maxBatchSize: number): number {
  return gpus * maxBatchSize * SECOND / RESNET50.execNs[RESNET50.batchSizes.indexOf(maxBatchSize)]!;
}

const experiments: Readonly<Record<string, () => void>> = {
  comparison() {
    console.log("\n15 models, 1000 r/s, 2 GPUs, SLO 100 ms, 10 minutes:\n");
    console.log("| max batch | in time | late or refused of | p50 ms | p99 | p99.9 | max |");
    console.log("| --- | --- | --- | --- | --- | --- | --- |");
    for (const maxBatchSize of [8, 16]) {
      const { offered, good, latenciesNs } = run({
        gpus: 2,
        models: 15,
        ratePerSecond: 1000,
        seconds: 600,
        sloNs: 100 * MS,
        maxBatchSize,
      });
      console.log(
        `| ${maxBatchSize} | ${percent(good, offered)} | ${offered - good} of ${offered} | ` +
          [0.5, 0.99, 0.999].map((share) => ms(at(latenciesNs, share))).join(" | ") +
          ` | ${ms(latenciesNs.at(-1))} |`,
      );
    }
  },
  overload() {
    console.log(
      "\nOverload, 2 GPUs, SLO 100 ms, 20 s each; refusals after at most this many ms:\n",
    );
    console.log(
      "| models | max batch | offered / capacity | goodput r/s | of capacity | refusal |",
    );
    console.log("| --- | --- | --- | --- | --- | --- |");
    for (const models of [1, 15]) {
      for (const maxBatchSize of [8, 16]) {
        for (const load of [2, 4, 8]) {
          const best = capacity(2, maxBatchSize);
          const { good, slowestRefusalNs } = run({
            gpus: 2,
            models,
            ratePerSecond: load * best,
            seconds: 20,
            sloNs: 100 * MS,
            maxBatchSize,
          });
          console.log(
            `| ${models} | ${maxBatchSize} | ${load} | ${(good / 20).toFixed(0)} | ` +
              `${percent(good / 20, best)} | ${ms(slowestRefusalNs)} |`,
          );
        }
      }
    }
  },
  slo() {
    console.log("\nSLO sweep, 15 models on 2 GPUs, 70 % of the batch-1 capacity, 60 s each:\n");
    console.log("| slo_factor | SLO ms | in time |");
    console.log("| --- | --- | --- |");
    let smallest: number | null = null;
    for (const factor of [1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 7, 8, 10, 15, 25]) {
      const sloNs = factor * RESNET50.execNs[0]!;
      const { offered, good } = run({
        gpus: 2,
        models: 15,
        ratePerSecond: 0.7 * capacity(2, 1),
        seconds: 60,
        sloNs,
        maxBatchSize: 8,
      });
      if (smallest === null && good >= 0.999 * offered) smallest = factor;
      console.log(`| ${factor} | ${ms(sloNs)} | ${percent(good, offered)} |`);
    }
    console.log(`\nThe smallest slo_factor with 99.9 % in time: ${smallest}`);
  },
};

const names = Deno.args.length > 0 ? Deno.args : Object.keys(experiments);
for (const name of names) {
  const experiment = experiments[name];
  if (experiment === undefined) {
    console.error(`unknown experiment "${name}": there are ${Object.keys(experiments).join(", ")}`);
    Deno.exit(2);
  }
  experiment();
}
