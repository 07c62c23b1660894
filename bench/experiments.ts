/**
 * The questions of docs/experiments.md, answered with the simulator:
 * `deno run -A bench/experiments.ts [NAME…]`. Prints the command that simulates each, and its table.
 */
import { fileURLToPath } from "node:url";
import { MS, SECOND } from "../src/core/clock.ts";
import { DEFAULT_CONTROLLER_OPTIONS } from "../src/controller/controller.ts";
import { ModelDir } from "../src/client/model_dir.ts";
import { findWorkload } from "../src/client/workloads/registry.ts";
import { Infer4 } from "../src/scheduler/infer4/infer4.ts";
import { STEADY_GPU } from "../src/simulator/gpu_model.ts";
import { violations } from "../src/simulator/invariants.ts";
import { Simulation } from "../src/simulator/simulation.ts";
import { metDeadline, type RequestRecord } from "../src/telemetry/records.ts";
import { DEFAULT_WORKER_CONFIG } from "../src/worker/config.ts";
import { ModelDirs } from "../src/worker/model_dirs.ts";
import { modelReader } from "../src/worker/emulated/model.ts";

const zooPath = fileURLToPath(new URL("../config/modelzoo", import.meta.url));
const zoo = ModelDir.read(zooPath);
const readModel = modelReader(ModelDirs.only(zooPath));

interface Experiment {
  readonly workers: number;
  readonly gpus: number;
  readonly seconds: number;
  readonly workload: readonly string[];
}

/** What came of some requests. */
class Tally {
  requests = 0;
  good = 0;
  readonly byStatus = new Map<number, number>();
  /** Latencies of good requests, counted by tenths of a millisecond. */
  readonly #tenths: number[] = [];

  add(record: RequestRecord): void {
    this.requests++;
    this.byStatus.set(record.status, (this.byStatus.get(record.status) ?? 0) + 1);
    if (!metDeadline(record)) return;
    this.good++;
    const tenth = Math.floor((record.departureNs - record.arrivalNs) / (MS / 10));
    this.#tenths[tenth] = (this.#tenths[tenth] ?? 0) + 1;
  }

  /** Upper bound of the latency that this share of the good requests had, in ms. */
  percentileMs(share: number): string {
    let left = share * this.good;
    for (let tenth = 0; tenth < this.#tenths.length; tenth++) {
      left -= this.#tenths[tenth] ?? 0;
      if (left <= 0) return ((tenth + 1) / 10).toFixed(1);
    }
    return "-";
  }

  get inTime(): string {
    return this.requests === 0 ? "-" : `${(100 * this.good / this.requests).toFixed(3)} %`;
  }
}

/** Simulates, and tallies requests by what `key` says of them; null: not counted. */
function simulate(
  { workers, gpus, seconds, workload }: Experiment,
  key: (record: RequestRecord) => string | null,
): Map<string, Tally> {
  const [name, ...parameters] = workload;
  const surroundings = {
    zoo: zoo.names,
    azureTraceDir: Deno.env.get("AZURE_TRACE_DIR") || null,
  };
  const tallies = new Map<string, Tally>();
  const startMs = performance.now();
  const simulation = new Simulation({
    seed: 1,
    workers,
    gpusPerWorker: gpus,
    clients: 1,
    network: { latencyNs: MS / 20, jitterNs: 0, bytesPerSecond: 1.25e9 },
    gpu: STEADY_GPU,
    clockOffsetNs: 0,
    clockDriftPpm: 0,
    controller: DEFAULT_CONTROLLER_OPTIONS,
    registry: false,
    workerConfig: DEFAULT_WORKER_CONFIG,
    makeScheduler: (clock, host) => new Infer4(clock, host, { maxGpus: 100_000 }),
    readModel,
    makePlan: () => findWorkload(name!).plan(parameters, surroundings),
    pathOf: (model) => zoo.pathOf(model),
    inputs: false,
    faults: [],
    telemetry: {
      onRequest: (record) => {
        const label = key(record);
        if (label === null) return;
        let tally = tallies.get(label);
        if (tally === undefined) tallies.set(label, tally = new Tally());
        tally.add(record);
      },
      onAction: () => {},
    },
    log: () => {},
  });
  for (let second = 1; second <= seconds; second++) simulation.clock.run(second * SECOND);
  simulation.stop();
  simulation.clock.run((seconds + 6) * SECOND);
  const found = violations(simulation);
  if (found.length > 0) throw new Error(found.join("; "));
  const took = (performance.now() - startMs) / 1000;
  console.log(
    `\n    clockwork simulate INFER4 --workers ${workers} --gpus ${gpus} --duration ${seconds}s ` +
      `-- ${workload.join(" ")}\n\n${seconds} s in ${took.toFixed(1)} s\n`,
  );
  return tallies;
}

const minute = ({ arrivalNs }: RequestRecord) => String(Math.floor(arrivalNs / (60 * SECOND)));

function table(header: string, rows: Iterable<readonly (string | number)[]>): void {
  const columns = header.split("|").length;
  console.log(`| ${header.split("|").map((name) => name.trim()).join(" | ")} |`);
  console.log(`|${" --- |".repeat(columns)}`);
  for (const row of rows) console.log(`| ${row.join(" | ")} |`);
}

/** A table of slo_factors, from `slo-exp-1` or 2. */
function sloTable(tallies: ReadonlyMap<string, Tally>): void {
  const factors = [...tallies].sort(([a], [b]) => Number(a) - Number(b));
  table(
    "slo_factor | SLO ms | requests | in time | p50 ms | p99 ms",
    factors.map(([factor, tally]) => [
      Number(factor).toFixed(2),
      (3.3 * Number(factor)).toFixed(1),
      tally.requests,
      tally.inTime,
      tally.percentileMs(0.5),
      tally.percentileMs(0.99),
    ]),
  );
}

const bySlo = ({ sloFactor }: RequestRecord) => String(sloFactor);

const experiments: Readonly<Record<string, () => void>> = {
  slo() {
    const workload = [
      "slo-exp-1",
      "resnet50_v2",
      "15",
      "poisson",
      "200",
      "1.5",
      "50",
      "1.25",
      "mul",
    ];
    sloTable(simulate({ workers: 1, gpus: 1, seconds: 340, workload: [...workload, "20"] }, bySlo));
  },
  bursty() {
    const experiment = {
      workers: 1,
      gpus: 1,
      seconds: 3900,
      workload: ["bursty_experiment", "3600"],
    };
    const tallies = simulate(experiment, ({ modelId, arrivalNs }) => {
      const at = Math.floor((arrivalNs / SECOND - 300) / 600) * 600;
      return at < 0 ? null : `${at}|${modelId === 0 ? "hot" : "others"}`;
    });
    table(
      "seconds after the lead-in | model | requests | in time | p50 ms | p99 ms",
      [...tallies].sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true })).map((
        [label, tally],
      ) => {
        const [at, which] = label.split("|");
        return [
          at!,
          which!,
          tally.requests,
          tally.inTime,
          tally.percentileMs(0.5),
          tally.percentileMs(0.99),
        ];
      }),
    );
  },
  low_slo() {
    for (const models of ["12", "48"]) {
      for (const rate of ["600", "1200"]) {
        const workload = [
          "slo-exp-1",
          "resnet50_v2",
          models,
          "poisson",
          rate,
          "1.25",
          "25",
          "1.25",
          "mul",
        ];
        sloTable(
          simulate({ workers: 6, gpus: 1, seconds: 150, workload: [...workload, "10"] }, bySlo),
        );
      }
    }
  },
  tenants() {
    const foreground = ["resnet50_v2", "6", "poisson", "200", "2", "32", "2", "mul", "20"];
    for (const background of [["0", "1", "100"], ["12", "16", "100"]]) {
      if (background[0] === "0") continue;
      const workload = ["slo-exp-2", ...foreground, ...background];
      sloTable(simulate({ workers: 6, gpus: 1, seconds: 110, workload }, bySlo));
    }
  },
  azure() {
    const experiment = {
      workers: 6,
      gpus: 2,
      seconds: 86_400,
      workload: ["azure", "6", "1", "1", "4"],
    };
    const tallies = simulate(
      experiment,
      (record) => String(Math.floor(Number(minute(record)) / 180)),
    );
    table(
      "hours | requests | in time | p50 ms | p99 ms | refused: cold start too long",
      [...tallies].map(([label, tally]) => [
        `${3 * Number(label)}–${3 * Number(label) + 3}`,
        tally.requests,
        tally.inTime,
        tally.percentileMs(0.5),
        tally.percentileMs(0.99),
        tally.byStatus.get(8) ?? 0,
      ]),
    );
  },
  scale() {
    console.log("\nPoisson, 150 r/s a GPU, as many models as GPUs:\n");
    const rows: (string | number)[][] = [];
    for (const workers of [6, 24, 96, 250, 500]) {
      const gpus = 2 * workers;
      const workload = ["poisson-open-loop", String(gpus), String(150 * gpus)];
      const startMs = performance.now();
      const [tally] = simulate(
        { workers, gpus: 2, seconds: 10, workload },
        ({ arrivalNs }) => arrivalNs > 4 * SECOND ? "all" : null,
      ).values();
      const micros = 1000 * (performance.now() - startMs) / (150 * gpus * 9);
      rows.push([
        gpus,
        150 * gpus,
        tally!.inTime,
        tally!.percentileMs(0.5),
        tally!.percentileMs(0.99),
        micros.toFixed(1),
      ]);
    }
    table("GPUs | requests/s | in time | p50 ms | p99 ms | µs a request to simulate", rows);
  },
};

const names = Deno.args.length > 0 ? Deno.args : Object.keys(experiments);
for (const name of names) {
  const experiment = experiments[name];
  if (experiment === undefined) {
    console.error(`unknown experiment "${name}": there are ${Object.keys(experiments).join(", ")}`);
    Deno.exit(2);
  }
  console.log(`\n## ${name}`);
  experiment();
}
