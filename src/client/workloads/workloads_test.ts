import assert from "node:assert/strict";
import { writeTrace } from "../../../bench/trace.ts";
import { ParameterError } from "./parameters.ts";
import { findWorkload, workloads } from "./registry.ts";
import type { Surroundings } from "./workload.ts";

const zoo = Array.from({ length: 61 }, (_, i) => `model${i}`);
const nowhere: Surroundings = { zoo, azureTraceDir: null };

function withTrace(body: (surroundings: Surroundings) => void): void {
  const directory = Deno.makeTempDirSync();
  try {
    writeTrace(directory, 1, { functions: 50, seed: 1 });
    body({ zoo, azureTraceDir: directory });
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

function refused(text: string, surroundings: Surroundings): string {
  const [name, ...parameters] = text.split(" ");
  try {
    findWorkload(name!).plan(parameters, surroundings);
  } catch (error) {
    assert.ok(error instanceof ParameterError, String(error));
    return error.message;
  }
  return assert.fail(`${text} was taken`);
}

/** Copies in all that a call needs. */
function copies(text: string, surroundings: Surroundings): number {
  const [name, ...parameters] = text.split(" ");
  return findWorkload(name!).plan(parameters, surroundings).uses
    .reduce((sum, use) => sum + use.copies, 0);
}

Deno.test("each workload's example is a valid call of it", () => {
  withTrace((surroundings) => {
    for (const { name, example, plan } of workloads) {
      assert.ok(plan(example, surroundings).uses.length > 0, name);
    }
  });
});

Deno.test("each workload loads the models that it should", () => {
  withTrace((surroundings) => {
    const expected = {
      "simple": 2,
      "simple-slo-factor": 3,
      "simple-parametric 10 2 4 100": 10,
      "example": 61,
      "fill_memory": 411,
      "spam": 100,
      "single-spam": 1,
      "poisson-open-loop 7 100": 7,
      "scalability-exp-1 100 200 1000 200 add 10": 100,
      "slo-exp-1 a 10 poisson 300 2 32 2 mul 10": 10,
      "slo-exp-2 a 5 poisson 200 2 32 2 mul 10 10 1 100": 15,
      "slo-exp-2 a 5 poisson 200 2 32 2 mul 10 0 1 100": 5,
      "comparison_experiment": 15,
      "comparison_experiment2": 15,
      "bursty_experiment": 3601,
      "azure": 66 * 61,
      "azure 1 1 1 1": 3 * 61,
      "azure 1 1 1 2": 13 * 61,
      "azure 1 1 1 3": 29 * 61,
      "azure 1 0 1 1": 200,
      "azure 1 0 1 2": 800,
      "azure 1 0 1 3": 1800,
      "azure 1 0 1 4": 3600,
      "azure_small": 183,
      "azure_half": 3100,
      "azure_fast": 66 * 61,
      "azure_single": 1,
      "azure_scalability_exp 6 0.5 4 2 60 1": 183,
    };
    for (const [text, count] of Object.entries(expected)) {
      assert.equal(copies(text, surroundings), count, text);
    }
    const tested = new Set(Object.keys(expected).map((text) => text.split(" ")[0]));
    for (const { name } of workloads) assert.ok(tested.has(name), name);
  });
});

Deno.test("each parameter that is wrong is named with what was expected", () => {
  withTrace((surroundings) => {
    const wrong: [string, RegExp][] = [
      ["simple-parametric 2 3 1 10", /parameter clients is "3", expected at most 2/],
      [
        "simple-parametric 100 100 1000 10",
        /parameter concurrency is "1000", expected at most 500/,
      ],
      ["poisson-open-loop 5", /parameter rate is missing; usage: num_models rate/],
      ["poisson-open-loop 0 5", /parameter num_models is "0"/],
      ["poisson-open-loop 5 0", /parameter rate is "0", expected a number more than 0/],
      [
        "scalability-exp-1 5 10 100 1 mul 5",
        /rate-factor is "1", expected more than 1, as 10 goes/,
      ],
      ["scalability-exp-1 5 10 100 10 plus 5", /parameter rate-op is "plus", expected add or mul/],
      [
        "slo-exp-1 a 5 uniform 5 2 4 2 mul 1",
        /distribution is "uniform", expected poisson or fixed/,
      ],
      ["slo-exp-1 a 5 poisson 5 2 4 0 add 1", /parameter slo-factor is "0", expected more than 0/],
      [
        "slo-exp-2 a 1 poisson 1 2 4 2 add 1 100 1000 9",
        /concurrency-bg is "1000", expected at most/,
      ],
      ["comparison_experiment2 1000 100", /parameter concurrency is "100", expected at most 50/],
      ["single-spam 3", /unexpected parameter "3"; it takes none/],
      ["azure 0", /parameter num_workers is "0"/],
      ["azure 1 2", /parameter use_all_models is "2", expected 0 or 1/],
      ["azure 1 1 -1", /parameter load_factor is "-1"/],
      ["azure 1 1 1 5", /parameter memory_load_factor is "5", expected a whole number from 1 to 4/],
      ["azure 1 1 1 1 0", /parameter interval is "0"/],
      ["azure 1 1 1 1 60 15", /parameter trace is "15", expected a whole number from 1 to 14/],
      ["azure 1 1 1 1 60 2", /there is no .*d02.csv in .*, which has day 1/],
      ["azure 1 1 1 1 60 1 yes", /parameter randomise is "yes", expected 0 or 1/],
      [
        "azure_scalability_exp 1 4 1 2 60 1",
        /load_inc is "2", expected less than 1, as 4 goes to 1/,
      ],
    ];
    for (const [text, message] of wrong) assert.match(refused(text, surroundings), message);
  });
  assert.match(refused("azure", nowhere), /^AZURE_TRACE_DIR is not set: set it to the directory/);
  const missing = { zoo, azureTraceDir: "/nowhere/at/all" };
  assert.match(
    refused("azure_small", missing),
    /cannot read the trace directory \/nowhere\/at\/all/,
  );
  assert.match(refused("example", { ...nowhere, zoo: [] }), /the model directory has no models/);
});

Deno.test("azure tells what it is going to do", () => {
  withTrace((surroundings) => {
    const [note] = findWorkload("azure").plan(["8", "1", "2", "1"], surroundings).notes!;
    assert.match(
      note!,
      /^Azure trace: 50 functions with \d+ invocations in the day, on 183 models; /,
    );
    assert.match(
      note!,
      /[\d.]+ requests\/s on average; 133 models get none, as there are more models/,
    );
  });
});
