/** What serving adds to ONNX Runtime alone, and how far times are from their predictions. */
import { joinInputs } from "../../src/worker/onnx/blobs.ts";
import type { BackendModel } from "../../src/worker/backend.ts";
import type { DeviceKind } from "../../src/worker/onnx/protocol.ts";
import { randomBlob, type TestBackend } from "../../src/worker/onnx/testing.ts";
import { cpuUsage } from "node:process";
import { Bare } from "./bare.ts";
import { OtherLoad } from "./other_load.ts";
import { median, pairedRatio, printTable, quantile, type Ratio } from "./statistics.ts";

/** About how long one model is run at one batch size, in milliseconds, and how often. */
const CASE_MS = 20_000;
const MIN_PAIRS = 20;
const MAX_PAIRS = 400;
/** Pairs count only while other programs keep fewer cores than this busy, if there are enough in this time. */
const QUIET_CORES = 0.15;
const PATIENCE_MS = Number(Deno.env.get("PATIENCE_S") ?? 60) * 1000;
/** Before anything is timed: on the CPU, V8 replaces its first, slow WebAssembly code meanwhile. */
const WARM_MS = 3000;
/** What serving may add. */
const LIMIT = 1.05;

/** What one inference took, in milliseconds: on the device, and from the action's start to its result. */
export interface Served {
  readonly execMs: number;
  readonly actionMs: number;
}

export async function serve(
  backend: TestBackend,
  model: BackendModel,
  size: number,
  inputs: readonly Uint8Array[],
): Promise<Served> {
  const beginNs = backend.clock.now();
  const { exec } = await backend.infer(model, 1, size, inputs);
  return {
    execMs: (exec.endNs - exec.beginNs) / 1e6,
    actionMs: (backend.clock.now() - beginNs) / 1e6,
  };
}

/** What `fn` gave, and the CPU time that all threads of the process took meanwhile, in milliseconds. */
async function withCpuMs<T>(fn: () => Promise<T>): Promise<{ value: T; cpuMs: number }> {
  const before = cpuUsage();
  const value = await fn();
  const { user, system } = cpuUsage(before);
  return { value, cpuMs: (user + system) / 1e3 };
}

/** A run of ONNX Runtime alone and a served inference, one right after the other. */
interface Neighbours extends Served {
  readonly bareMs: number;
  readonly bareCpuMs: number;
  readonly servedCpuMs: number;
}

interface Samples {
  readonly pairs: readonly Neighbours[];
  /** Whether other programs were at work. */
  readonly disturbed: boolean;
}

/** Runs both by turns, A B B A, so that neither always comes first. */
async function interleave(
  bare: () => Promise<number>,
  served: () => Promise<Served>,
): Promise<Samples> {
  const quiet: Neighbours[] = [];
  const all: Neighbours[] = [];
  const others = new OtherLoad();
  const beginMs = performance.now();
  while (quiet.length < MAX_PAIRS) {
    const tookMs = performance.now() - beginMs;
    if (tookMs > (quiet.length < MIN_PAIRS ? PATIENCE_MS : CASE_MS)) break;
    others.cores();
    const a1 = await withCpuMs(bare);
    const b1 = await withCpuMs(served);
    const b2 = await withCpuMs(served);
    const a2 = await withCpuMs(bare);
    const pairs = ([[a1, b1], [a2, b2]] as const).map(([a, b]) => (
      { bareMs: a.value, bareCpuMs: a.cpuMs, servedCpuMs: b.cpuMs, ...b.value }
    ));
    all.push(...pairs);
    if (others.cores() < QUIET_CORES) quiet.push(...pairs);
  }
  const disturbed = quiet.length < MIN_PAIRS;
  return { pairs: disturbed ? all : quiet, disturbed };
}

function costRow(name: string, size: number, { pairs, disturbed }: Samples): string[] {
  const exec = pairedRatio(pairs.map(({ bareMs: a, execMs: b }) => ({ a, b })));
  const action = pairedRatio(pairs.map(({ bareMs: a, actionMs: b }) => ({ a, b })));
  const cpu = pairedRatio(pairs.map(({ bareCpuMs: a, servedCpuMs: b }) => ({ a, b })));
  const range = ({ low, high }: Ratio) => `${low.toFixed(3)}-${high.toFixed(3)}`;
  return [
    name,
    `${size}`,
    `${pairs.length}${disturbed ? " (disturbed)" : ""}`,
    median(pairs.map(({ bareMs }) => bareMs)).toFixed(2),
    exec.median.toFixed(3),
    action.median.toFixed(3),
    range(action),
    action.high <= LIMIT ? "yes" : action.low > LIMIT ? "no" : "cannot tell",
    cpu.median.toFixed(3),
    range(cpu),
  ];
}

function predictionRow(
  name: string,
  size: number,
  predictedMs: number,
  served: readonly Served[],
): string[] {
  const ratios = served.map(({ execMs }) => execMs / predictedMs);
  const over = ratios.filter((ratio) => ratio > 1.1);
  return [
    name,
    `${size}`,
    `${ratios.length}`,
    predictedMs.toFixed(2),
    ...[0.5, 0.9, 0.99, 1].map((q) => quantile(ratios, q).toFixed(3)),
    `${(100 * over.length / ratios.length).toFixed(1)} %`,
    over.length === 0 ? "-" : `${((median(over) - 1) * predictedMs).toFixed(2)} ms`,
  ];
}

/** Prints a table of each. `names` are models of the backend's directory. */
export async function servingCost(
  backend: TestBackend,
  kind: DeviceKind,
  names: readonly string[],
): Promise<void> {
  const bare = await Bare.open(kind);
  const cost = [[
    "model",
    "batch",
    "pairs",
    "bare ms",
    "exec/bare",
    "action/bare",
    "95 % interval",
    `at most ${LIMIT}`,
    "CPU/bare CPU",
    "95 % interval",
  ]];
  const predictions = [[
    "model",
    "batch",
    "runs",
    "predicted ms",
    "median",
    "p90",
    "p99",
    "max",
    "over by > 10 %",
    "by (median)",
  ]];
  for (const name of names) {
    const model = await backend.load(name, 8);
    await backend.loadWeights(model, 1);
    for (const size of [1, 8]) {
      const at = model.batchSizes.indexOf(size);
      if (at < 0) continue;
      const blobs = Array.from({ length: size }, (_, i) => randomBlob(model, i));
      const buffers = joinInputs(model.inputs, blobs, size);
      const inputs = model.inputs.map(({ name, dtype, shape }, i) => ({
        name,
        dtype,
        dims: [size, ...shape],
        buffer: buffers[i]!,
      }));
      await bare.prepare(Deno.readFileSync(model.source), inputs);
      const served = () => serve(backend, model, size, blobs);
      const warmUntilMs = performance.now() + WARM_MS;
      do {
        await bare.run();
        await served();
      } while (performance.now() < warmUntilMs);
      const samples = await interleave(() => bare.run(), served);
      cost.push(costRow(name, size, samples));
      const predictedMs = model.profiles[0]!.execNs[at]! / 1e6;
      predictions.push(predictionRow(name, size, predictedMs, samples.pairs));
    }
    await backend.evictWeights(model, 1);
  }
  bare.close();
  console.log("A served inference, from the action's start to its result, and ONNX Runtime alone");
  console.log("(by turns; medians of the ratios of neighbours):");
  printTable(cost);
  console.log("Execution as a share of its prediction:");
  printTable(predictions);
}
