/**
 * Each workload against a controller and an emulated worker, all on one virtual clock: it runs, it is
 * answered, and its requests come as its description says.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { writeTrace } from "../../bench/trace.ts";
import { MINUTES, readTrace, traceFile } from "../client/azure/trace_file.ts";
import type { InferOptions, Model } from "../client/model.ts";
import { exponentialCdf, gapsOf, KS_LIMIT, ksStatistic } from "../client/generators/testing.ts";
import { noInputs } from "../client/inputs.ts";
import { ModelDir } from "../client/model_dir.ts";
import type { Summary } from "../client/statistics.ts";
import { WorkloadRun } from "../client/workload_run.ts";
import { findWorkload, workloads } from "../client/workloads/registry.ts";
import type { Plan, Run } from "../client/workloads/workload.ts";
import { Cluster } from "../controller/test_rig.ts";
import { MS, SECOND } from "../core/clock.ts";
import { Random } from "../core/random.ts";
import { ModelDirs } from "../worker/model_dirs.ts";
import { modelReader } from "../worker/emulated/model.ts";

const ZOO = fileURLToPath(new URL("../../config/modelzoo", import.meta.url));
const PAGE_BYTES = 16 * 2 ** 20;
/** The trace's invocations a second on average: at the trace's scale of 1/8, 1000 requests. */
const TRACE_RATE = 8000;

/** A request as a generator meant it. */
interface Sent {
  /** When it was due, from the start of the run. */
  readonly dueNs: number;
  readonly model: Model;
  readonly options: InferOptions;
  readonly open: boolean;
}

interface Outcome {
  readonly sent: readonly Sent[];
  /** Those of open loops. */
  readonly open: readonly Sent[];
  readonly summary: Summary;
  /** From the first request on. */
  readonly durationNs: number;
  /** Whether the workload ended by itself. */
  readonly finished: boolean;
  /** The most requests that one model had unanswered at a time, by the controller's count. */
  readonly maxUnanswered: number;
}

interface Options {
  readonly seconds: number;
  readonly seed?: number;
  readonly gpus?: number;
  readonly azureTraceDir?: string;
}

/** Runs `WORKLOAD PARAMETERS…` for some virtual seconds. */
function runWorkload(text: string, options: Options): Outcome {
  const { seconds, seed = 1, gpus = 8, azureTraceDir = null } = options;
  const cluster = new Cluster();
  cluster.addWorker({
    gpus,
    readModel: modelReader(ModelDirs.only(ZOO)),
    config: { weights_cache_page_size: PAGE_BYTES, weights_cache_size: 1376 * PAGE_BYTES },
  });
  cluster.controller.start();
  cluster.run();
  const { client } = cluster.addClient({ maxQueuedBytes: Infinity });
  const modelDir = ModelDir.read(ZOO);
  const [name, ...parameters] = text.split(" ");
  const plan = findWorkload(name!).plan(parameters, { zoo: modelDir.names, azureTraceDir });
  const sent: Sent[] = [];
  let startNs = NaN;
  let endNs = NaN;
  let error: string | null = null;
  const run = new WorkloadRun(
    {
      client,
      clock: cluster.clock,
      random: new Random(seed),
      inputs: noInputs,
      pathOf: (model) => modelDir.pathOf(model),
    },
    tapped(plan, sent),
    {
      onStart: () => startNs = cluster.clock.now(),
      onEnd: (reason) => {
        endNs = cluster.clock.now();
        error = reason;
      },
    },
  );
  run.start();
  for (let tries = 0; Number.isNaN(startNs); tries++) {
    assert.ok(tries < 100, `${text} does not start`);
    cluster.run(SECOND / 10);
  }
  cluster.clock.run(startNs + seconds * SECOND);
  const finished = !Number.isNaN(endNs);
  const durationNs = (finished ? endNs : cluster.clock.now()) - startNs;
  run.stop();
  cluster.run(6 * SECOND);
  assert.equal(error, null);
  assert.ok(!Number.isNaN(endNs), `${text} does not end`);
  const summary = run.statistics.summary(startNs + durationNs);
  assert.equal(summary.requests, sent.length, `${text}: each request is counted once`);
  assert.deepEqual(summary.drops, { outstanding: 0, network: 0, late: 0 });
  assert.ok(summary.succeeded > 0, text);
  cluster.controller.close("the test is over");
  const maxUnanswered = cluster.requests.reduce(
    (max, { arrivalCount }) => Math.max(max, arrivalCount + 1),
    0,
  );
  const open = sent.filter((one) => one.open);
  return { sent, open, summary, durationNs, finished, maxUnanswered };
}

/** The plan, whose requests are noted on their way. */
function tapped(plan: Plan, sent: Sent[]): Plan {
  return {
    ...plan,
    start: (run, models, finished) => {
      const startNs = run.clock.now();
      const note = (model: Model, options: InferOptions, lateNs: number, open: boolean) => {
        sent.push({ dueNs: run.clock.now() - lateNs - startNs, model, options, open });
      };
      const tap: Run = {
        clock: run.clock,
        random: run.random,
        get stopped() {
          return run.stopped;
        },
        infer: (model, options, done) => {
          note(model, options, 0, false);
          run.infer(model, options, done);
        },
        offer: (model, options, lateNs) => {
          note(model, options, lateNs, true);
          run.offer(model, options, lateNs);
        },
      };
      plan.start(tap, models, finished);
    },
  };
}

/** Asserts a Poisson process of this rate: its count within 2 %, or 3 deviations of few; its gaps. */
function assertPoisson(what: string, requests: readonly Sent[], rate: number, seconds: number) {
  const expected = rate * seconds;
  const allowed = Math.max(0.02 * expected, expected < 10_000 ? 3 * Math.sqrt(expected) : 0);
  const { length } = requests;
  assert.ok(Math.abs(length - expected) <= allowed, `${what}: ${length} of ${expected}`);
  const ks = ksStatistic(gapsOf(requests.map(({ dueNs }) => dueNs)), exponentialCdf(SECOND / rate));
  assert.ok(ks < KS_LIMIT, `${what}: the gaps' statistic is ${ks}`);
}

function byModel(requests: readonly Sent[]): Sent[][] {
  const groups = new Map<number, Sent[]>();
  for (const one of requests) {
    const group = groups.get(one.model.id);
    if (group === undefined) groups.set(one.model.id, [one]);
    else group.push(one);
  }
  return [...groups.entries()].sort(([a], [b]) => a - b).map(([, group]) => group);
}

/** Asserts that counts are those of a Poisson process each, within five standard deviations. */
function assertCounts(groups: readonly (readonly Sent[])[], expected: number): void {
  for (const { length } of groups) {
    assert.ok(Math.abs(length - expected) < 5 * Math.sqrt(expected), `${length} of ${expected}`);
  }
}

function withTrace(body: (azureTraceDir: string, perMinute: readonly number[]) => void): void {
  const directory = Deno.makeTempDirSync();
  try {
    writeTrace(directory, 1, { functions: 300, seed: 1, rate: TRACE_RATE });
    const perMinute = new Array<number>(MINUTES).fill(0);
    readTrace(traceFile(directory, 1), (_, minute, count) => perMinute[minute]! += count);
    body(directory, perMinute);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

const tests: Record<string, () => void> = {
  "simple": () => {
    const { sent, maxUnanswered } = runWorkload("simple", { seconds: 4 });
    assert.equal(maxUnanswered, 1);
    assert.equal(byModel(sent).length, 2);
  },

  "simple-slo-factor": () => {
    const { sent, maxUnanswered } = runWorkload("simple-slo-factor", { seconds: 41 });
    assert.equal(maxUnanswered, 1);
    const factors = byModel(sent).map((group) => {
      const perStep = [0, 1, 2, 3].map((step) =>
        group.filter(({ dueNs }) => Math.floor(dueNs / SECOND / 10) === step)
      );
      return perStep.map((requests) => {
        const values = new Set(requests.map(({ options }) => options.sloFactor));
        assert.equal(values.size, 1);
        return [...values][0];
      });
    });
    assert.deepEqual(factors, [[4, 5, 6.25, 7.8125], [4, 5, 6, 7], [10, 1, 10, 1]]);
  },

  "simple-parametric": () => {
    const { sent, summary, finished } = runWorkload("simple-parametric 7 3 2 140", { seconds: 9 });
    assert.ok(finished);
    assert.equal(summary.requests, 3 * 140);
    // Copies 0, 3 and 6 are the first client's, 1 and 4 the second's, 2 and 5 the third's.
    const counts = byModel(sent).map((group) => group.length);
    assert.deepEqual(counts, [47, 70, 70, 47, 70, 70, 46]);
  },

  "example": () => {
    const seconds = 12;
    const { sent, open } = runWorkload("example", { seconds });
    const groups = byModel(open);
    assert.equal(groups.length, 61);
    // 5 + 10 a second, and 10 in bursts that fill a third of the time, wherever they began.
    const expected = (5 + 10 + 10 / 3) * seconds * 61;
    assert.ok(Math.abs(open.length / expected - 1) < 0.06, `${open.length} of ${expected}`);
    // Models that were in a burst for ten seconds have more than those whose pause it was.
    const counts = groups.map(({ length }) => length);
    assert.ok(Math.max(...counts) > 230 && Math.min(...counts) < 215, `${counts}`);
    // All the time one closed loop, and the other in its bursts.
    for (const group of byModel(sent.filter((one) => !one.open))) assert.ok(group.length > 50);
  },

  "fill_memory": () => {
    const { open } = runWorkload("fill_memory", { seconds: 10, gpus: 12 });
    const groups = byModel(open);
    assert.equal(groups.length, 411);
    assertPoisson("one", groups[0]!, 1000, 10);
    assertPoisson("the ten", open.filter(({ model }) => model.id >= 1 && model.id < 11), 100, 10);
    assertPoisson("the 400", open.filter(({ model }) => model.id >= 11), 400, 10);
    assertCounts(groups.slice(1, 11), 100);
    assert.ok(Math.abs(open.length / 15_000 - 1) < 0.02);
  },

  "spam": () => {
    const { sent, maxUnanswered } = runWorkload("spam", { seconds: 1 });
    assert.equal(byModel(sent).length, 100);
    assert.equal(maxUnanswered, 100);
    // Refused requests come back slower each time: 10 000 loops that spin would send millions.
    assert.ok(sent.length > 10_000 && sent.length < 100_000, `${sent.length}`);
  },

  "single-spam": () => {
    const { sent, maxUnanswered } = runWorkload("single-spam", { seconds: 2 });
    assert.equal(byModel(sent).length, 1);
    assert.equal(maxUnanswered, 1000);
  },

  "poisson-open-loop": () => {
    const outcome = runWorkload("poisson-open-loop 8 1500", { seconds: 10 });
    assertPoisson("all", outcome.open, 1500, 10);
    assertCounts(byModel(outcome.open), 1500 / 8 * 10);
    const again = runWorkload("poisson-open-loop 8 1500", { seconds: 1 });
    const other = runWorkload("poisson-open-loop 8 1500", { seconds: 1, seed: 2 });
    const due = ({ open }: Outcome) => open.slice(0, 1000).map(({ dueNs }) => dueNs);
    assert.deepEqual(due(again), due(outcome));
    assert.notDeepEqual(due(other), due(outcome));
  },

  "scalability-exp-1": () => {
    const text = "scalability-exp-1 20 400 1600 2 mul 6";
    const { open, finished, durationNs } = runWorkload(text, { seconds: 20 });
    assert.ok(finished && durationNs >= 18 * SECOND && durationNs < 19 * SECOND);
    assert.ok(Math.abs(open.length / (2800 * 6) - 1) < 0.02);
    for (const [i, rate] of [400, 800, 1600].entries()) {
      const period = open.filter(({ dueNs }) => Math.floor(dueNs / SECOND / 6) === i);
      assertPoisson(`rate ${rate}`, period, rate, 6);
    }
  },

  "slo-exp-1": () => {
    const text = "slo-exp-1 resnet50_v2 10 poisson 1000 4 64 2 mul 2.5";
    const { open, finished, durationNs } = runWorkload(text, { seconds: 15 });
    assert.ok(finished && durationNs >= 12.5 * SECOND && durationNs < 13.5 * SECOND);
    assertPoisson("all", open, 1000, 12.5);
    for (const { dueNs, options } of open) {
      assert.equal(options.sloFactor, 4 * 2 ** Math.floor(dueNs / SECOND / 2.5));
    }
    const fixed = runWorkload("slo-exp-1 resnet18 4 fixed-rate 200 10 30 10 add 2", { seconds: 5 });
    for (const group of byModel(fixed.open)) {
      assert.ok(Math.abs(group.length - 250) <= 1);
      for (const gap of gapsOf(group.map(({ dueNs }) => dueNs))) {
        assert.ok(Math.abs(gap - 20 * MS) < 10);
      }
    }
  },

  "slo-exp-2": () => {
    const text = "slo-exp-2 resnet50_v2 5 poisson 1000 8 32 8 add 3 4 2 100";
    const { sent, open, finished } = runWorkload(text, { seconds: 15 });
    assert.ok(finished);
    assertPoisson("the foreground", open, 1000, 12);
    for (const { dueNs, options } of open) {
      assert.equal(options.sloFactor, 8 + 8 * Math.floor(dueNs / SECOND / 3));
    }
    const background = sent.filter((one) => !one.open);
    assert.equal(byModel(background).length, 4);
    assert.ok(background.every(({ options }) => options.sloFactor === 100));
    assert.ok(background.length > 1000);
  },

  "comparison_experiment": () => {
    const { open } = runWorkload("comparison_experiment", { seconds: 12 });
    assertPoisson("all", open, 1000, 12);
    assert.equal(byModel(open).length, 15);
    assertCounts(byModel(open), 12_000 / 15);
  },

  "comparison_experiment2": () => {
    const { sent, maxUnanswered } = runWorkload("comparison_experiment2", { seconds: 2 });
    assert.equal(byModel(sent).length, 15);
    assert.equal(maxUnanswered, 16);
  },

  "bursty_experiment": () => {
    const { open, finished, durationNs } = runWorkload("bursty_experiment 12", { seconds: 320 });
    assert.ok(finished && durationNs >= 312 * SECOND && durationNs < 313 * SECOND);
    assertPoisson("the steady one", open.filter(({ model }) => model.id === 0), 200, 312);
    const bursty = open.filter(({ model }) => model.id > 0);
    assertPoisson("the others", bursty.map((one) => one), 1000, 12);
    for (const { dueNs, model } of bursty) {
      assert.ok(dueNs >= 300 * SECOND && model.id <= Math.floor(dueNs / SECOND) - 299);
    }
    assert.equal(byModel(bursty).length, 12);
  },

  "azure": () =>
    withTrace((azureTraceDir, perMinute) => {
      const outcome = runWorkload("azure 1 1 1.5 1 60 1 0", { seconds: 10, azureTraceDir });
      assertPoisson("azure", outcome.open, perMinute[0]! / 60 * 0.125 * 1.5, 10);
      assert.ok(new Set(outcome.open.map(({ model }) => model.path)).size > 30);
      // The busiest models are others by another seed: they are shuffled.
      const busiest = ({ open }: Outcome) =>
        byModel(open).sort((a, b) => b.length - a.length)[0]![0];
      const other = runWorkload("azure", { seconds: 2, seed: 2, azureTraceDir });
      assert.notEqual(busiest(other)!.model.id, busiest(outcome)!.model.id);
      const one = runWorkload("azure 2 0 1 1", { seconds: 5, azureTraceDir });
      assertPoisson("copies of one model", one.open, perMinute[0]! / 60 * 0.125 * 2, 5);
      assert.equal(new Set(one.open.map(({ model }) => model.path)).size, 1);
    }),

  "azure_small": () =>
    withTrace((azureTraceDir, perMinute) => {
      const { open } = runWorkload("azure_small", { seconds: 12, azureTraceDir });
      assertPoisson("azure_small", open, perMinute[0]! / 60 * 0.125, 12);
    }),

  "azure_half": () =>
    withTrace((azureTraceDir, perMinute) => {
      const { open } = runWorkload("azure_half", { seconds: 12, azureTraceDir });
      assertPoisson("azure_half", open, perMinute[0]! / 60 * 0.125, 12);
    }),

  "azure_fast": () =>
    withTrace((azureTraceDir, perMinute) => {
      const { open } = runWorkload("azure_fast", { seconds: 12, azureTraceDir });
      const counts = new Array<number>(12).fill(0);
      for (const { dueNs } of open) counts[Math.floor(dueNs / SECOND)]!++;
      const fits = (first: number) =>
        counts.every((count, i) => {
          const expected = perMinute[(first + i) % MINUTES]! / 60 * 0.125;
          return Math.abs(count - expected) < 4 * Math.sqrt(expected);
        });
      // It is some part of the day, and not its beginning.
      assert.ok(perMinute.some((_, first) => fits(first)), `${counts}`);
      assert.ok(!fits(0));
    }),

  "azure_single": () =>
    withTrace((azureTraceDir, perMinute) => {
      const { open } = runWorkload("azure_single", { seconds: 12, azureTraceDir });
      assert.equal(byModel(open).length, 1);
      const expected = perMinute.slice(0, 12).reduce((sum, count) => sum + count / 60 * 0.125, 0);
      assert.ok(Math.abs(open.length / expected - 1) < 0.02, `${open.length} of ${expected}`);
      for (let second = 0; second < 12; second++) {
        const count = open.filter(({ dueNs }) => Math.floor(dueNs / SECOND) === second).length;
        const rate = perMinute[second]! / 60 * 0.125;
        assert.ok(Math.abs(count - rate) < 4 * Math.sqrt(rate), `${count} of ${rate}`);
      }
    }),

  "azure_scalability_exp": () =>
    withTrace((azureTraceDir, perMinute) => {
      const text = "azure_scalability_exp 1 0.5 2 2 5 1";
      const { open, finished } = runWorkload(text, { seconds: 16, azureTraceDir });
      assert.ok(finished);
      for (const [i, load] of [0.5, 1, 2].entries()) {
        const period = open.filter(({ dueNs }) => Math.floor(dueNs / SECOND / 5) === i);
        assertPoisson(`load ${load}`, period, perMinute[0]! / 60 * 0.125 * load, 5);
      }
      const expected = perMinute[0]! / 60 * 0.125 * 3.5 * 5;
      assert.ok(Math.abs(open.length / expected - 1) < 0.02, `${open.length} of ${expected}`);
    }),
};

for (const [name, test] of Object.entries(tests)) {
  Deno.test(`workload ${name} runs against an emulated cluster as it is described`, test);
}

Deno.test("no workload goes without such a test", () => {
  assert.deepEqual(workloads.map(({ name }) => name).sort(), Object.keys(tests).sort());
});
