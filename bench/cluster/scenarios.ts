/** What `deno task bench:cluster` runs, and what is known to compare it with. */

/** ResNet-50, as config/modelzoo has it: milliseconds that a batch of one and of eight take. */
const B1_MS = 3.3;
const B8_MS = 12.4;

export interface Scenario {
  readonly name: string;
  /** Emulated GPUs of each worker, one number a worker. */
  readonly gpus: readonly number[];
  readonly workload: readonly string[];
  /** Whether requests bring their inputs, of 602 KB. */
  readonly inputs: boolean;
  /** What is measured: answers within 100 ms, per second or as a share of the requests. */
  readonly unit: "r/s" | "%";
  /** What no server could surpass, in that unit. */
  readonly limit: number;
  /** What this project wants to reach. */
  readonly target: string;
  /** The original's figure: see {@link ORIGINAL}. */
  readonly original: string;
}

/** Requests a second that GPUs can serve in batches of eight. */
const capacity = (gpus: number) => Math.floor(gpus * 8 / B8_MS * 1000);

function openLoop(models: number, gpus: number, rate: number, target: string, original: string) {
  return {
    name: `open-${rate}`,
    gpus: [gpus],
    workload: ["poisson-open-loop", `${models}`, `${rate}`],
    inputs: false,
    unit: "r/s",
    limit: Math.min(rate, capacity(gpus)),
    target,
    original,
  } as const;
}

export const scenarios: readonly Scenario[] = [
  {
    name: "simple",
    gpus: [2],
    workload: ["simple"],
    inputs: true,
    unit: "r/s",
    // Two closed loops of one request each: each waits for its GPU, alone.
    limit: Math.floor(2 / B1_MS * 1000),
    target: "≥ 500",
    original: "276–296",
  },
  {
    name: "comparison",
    gpus: [2],
    workload: ["comparison_experiment", "15", "1000"],
    inputs: false,
    unit: "%",
    limit: 100,
    target: "",
    original: "98.3–99.6",
  },
  openLoop(100, 12, 500, "", "332–389"),
  openLoop(100, 12, 1000, "", "605–680"),
  openLoop(100, 12, 2000, "", "544–797"),
  openLoop(100, 12, 4000, "≥ 99.9 %", "not run"),
  openLoop(100, 12, 5000, "", "50–165"),
  openLoop(10, 24, 12_000, "≥ 99.9 %", "not run"),
  {
    name: "spam",
    gpus: [12],
    workload: ["spam"],
    inputs: false,
    unit: "r/s",
    limit: capacity(12),
    target: `≥ ${Math.floor(capacity(12) / 2)}`,
    original: "128–271",
  },
];

/** The loading of models has no requests, and is measured by itself. */
export const LOAD = {
  name: "load",
  gpus: [1, 1, 1, 1, 1, 1],
  /** Of each model of the zoo, as `azure` has them for a memory_load_factor of 4. */
  copies: 66,
  targetS: 5,
} as const;

/** What a comparison with the original must be read with. */
export const ORIGINAL =
  "The original was measured on a 2-core machine with everything on it (emulated workers, the same\n" +
  "profile up to batches of 8, no inputs), as it is and with its hard-coded thread counts reduced to\n" +
  "1 each, which suits 2 cores better; the better of the two is shown. These say how it fares on 2\n" +
  "oversubscribed cores, not what it can do on the many pinned cores it was made for (its\n" +
  "documentation: 400 r/s for `simple`).";
