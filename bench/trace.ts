/**
 * Generates a trace in the format of the Azure Functions 2019 trace: few functions get most of the
 * invocations, most get a handful, and the load follows the time of day.
 *
 *     deno run --allow-write bench/trace.ts --functions 1000 --days 1 --rate 100 -o traces
 *
 * `--rate` is the invocations a second of all functions on average; without it they are as busy as the
 * real ones.
 * Point AZURE_TRACE_DIR at the directory. The same seed writes the same bytes.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Random } from "../src/core/random.ts";
import { MINUTES, traceFileName } from "../src/client/azure/trace_file.ts";

/** How unequal functions are: with 1.1, a tenth of them gets most of the invocations. */
const TAIL = 1.1;
/** The most popular function has no more than so many times the invocations of the least popular. */
const MAX_RATIO = 100_000;
/** Invocations a second of each function on average, unless told otherwise: as in the real trace. */
const RATE_EACH = 0.008;

/** A number of the Poisson distribution. */
export function poisson(mean: number, random: Random): number {
  // Above, a normal distribution is as good, and takes the same time however large the mean.
  if (mean > 50) {
    const radius = Math.sqrt(2 * random.exponential(1));
    const normal = radius * Math.cos(2 * Math.PI * random.float());
    return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal));
  }
  let count = 0;
  for (let sum = random.exponential(1); sum < mean; sum += random.exponential(1)) count++;
  return count;
}

/** What a function's invocations look like over the day: a factor for each minute, 1 on average. */
function pattern(random: Random): (minute: number) => number {
  const kind = random.float();
  if (kind < 0.3) {
    // A timer: once every so many minutes.
    const every = [5, 10, 15, 30, 60][random.below(5)]!;
    const offset = random.below(every);
    return (minute) => minute % every === offset ? every : 0;
  }
  if (kind < 0.45) {
    // Bursts: busy for a tenth of the time.
    const lengths = 20 + random.below(100);
    const offset = random.below(lengths * 10);
    return (minute) => Math.floor((minute + offset) / lengths) % 10 === 0 ? 10 : 0;
  }
  const peak = random.below(MINUTES);
  const depth = random.float() * 0.8;
  return (minute) => 1 + depth * Math.cos(2 * Math.PI * (minute - peak) / MINUTES);
}

function identifier(random: Random): string {
  return Array.from({ length: 8 }, () => random.uint32().toString(16).padStart(8, "0")).join("");
}

/** How popular functions are: heavy-tailed, 1 on average. */
function popularities(functions: number, random: Random): Float64Array {
  const values = new Float64Array(functions).map(() =>
    Math.min((1 - random.float()) ** (-1 / TAIL), MAX_RATIO)
  );
  const mean = values.reduce((sum, value) => sum + value, 0) / functions;
  return values.map((value) => value / mean);
}

export interface TraceShape {
  readonly functions: number;
  readonly seed: number;
  /** Invocations a second of all functions together, on average. */
  readonly rate?: number;
}

/** The rows of one day, header first, each with its line's end. */
export function* traceRows({ functions, seed, rate }: TraceShape): Generator<string> {
  const random = new Random(seed);
  const popularity = popularities(functions, random.fork());
  const eachPerMinute = 60 * (rate ?? RATE_EACH * functions) / functions;
  const minutes = Array.from({ length: MINUTES }, (_, i) => i);
  yield `HashOwner,HashApp,HashFunction,Trigger,${minutes.map((i) => i + 1).join(",")}\n`;
  const triggers = ["http", "timer", "queue", "event", "storage", "others"];
  for (let i = 0; i < functions; i++) {
    const perMinute = popularity[i]! * eachPerMinute;
    const factor = pattern(random);
    const counts = minutes.map((minute) => poisson(perMinute * factor(minute), random));
    const ids = [identifier(random), identifier(random), identifier(random)];
    yield `${ids.join(",")},${triggers[random.below(triggers.length)]},${counts.join(",")}\n`;
  }
}

/** Writes a day's file into a directory, which is made if missing; returns its path. */
export function writeTrace(directory: string, day: number, shape: TraceShape): string {
  Deno.mkdirSync(directory, { recursive: true });
  const path = join(directory, traceFileName(day));
  using file = Deno.openSync(path, { write: true, create: true, truncate: true });
  const encoder = new TextEncoder();
  for (const row of traceRows(shape)) {
    const bytes = encoder.encode(row);
    for (let offset = 0; offset < bytes.length;) offset += file.writeSync(bytes.subarray(offset));
  }
  return path;
}

function main(): void {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      functions: { type: "string", default: "1000" },
      days: { type: "string", default: "1" },
      seed: { type: "string", default: "1" },
      rate: { type: "string" },
      output: { type: "string", short: "o", default: "traces" },
    },
  });
  const whole = (name: "functions" | "days" | "seed" | "rate", max: number) => {
    const text = values[name] ?? "";
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value >= 1 && value <= max)) {
      throw new RangeError(`--${name} must be a whole number from 1 to ${max}`);
    }
    return value;
  };
  const [functions, days, seed] = [
    whole("functions", 1_000_000),
    whole("days", 14),
    whole("seed", 2 ** 32 - 1),
  ];
  const rate = values.rate === undefined ? {} : { rate: whole("rate", 1e6) };
  for (let day = 1; day <= days; day++) {
    const shape = { functions, seed: seed + day - 1, ...rate };
    console.log(writeTrace(values.output, day, shape));
  }
}

if (import.meta.main) {
  try {
    main();
  } catch (error) {
    console.error(`error: ${(error as Error).message}`);
    Deno.exit(2);
  }
}
