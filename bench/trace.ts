/**
 * Writes a made-up trace in the format of the Azure Functions 2019 trace: few functions get most of the
 * invocations, most get a handful, and the load follows the time of day.
 *
 *     deno run --allow-write bench/trace.ts --functions 1000 --days 1 -o traces
 *
 * Point AZURE_TRACE_DIR at the directory. The same seed writes the same bytes.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Random } from "../src/core/random.ts";
import { MINUTES, traceFileName } from "../src/client/azure/trace_file.ts";

/** How unequal functions are: with 1.1, a tenth of them gets most of the invocations. */
const TAIL = 1.1;
/** Invocations a day of the least popular functions. */
const LEAST_PER_DAY = 2;
/** The most popular function gets no more than so many a minute. */
const MOST_PER_MINUTE = 2000;

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

/** The rows of one day, header first, each with its line's end. */
export function* traceRows(functions: number, seed: number): Generator<string> {
  const random = new Random(seed);
  const minutes = Array.from({ length: MINUTES }, (_, i) => i);
  yield `HashOwner,HashApp,HashFunction,Trigger,${minutes.map((i) => i + 1).join(",")}\n`;
  const triggers = ["http", "timer", "queue", "event", "storage", "others"];
  for (let i = 0; i < functions; i++) {
    const perDay = LEAST_PER_DAY * (1 - random.float()) ** (-1 / TAIL);
    const perMinute = Math.min(perDay / MINUTES * 10, MOST_PER_MINUTE);
    const factor = pattern(random);
    const counts = minutes.map((minute) => poisson(perMinute * factor(minute), random));
    const ids = [identifier(random), identifier(random), identifier(random)];
    yield `${ids.join(",")},${triggers[random.below(triggers.length)]},${counts.join(",")}\n`;
  }
}

/** Writes a day's file into a directory, which is made if missing; returns its path. */
export function writeTrace(
  directory: string,
  day: number,
  functions: number,
  seed: number,
): string {
  Deno.mkdirSync(directory, { recursive: true });
  const path = join(directory, traceFileName(day));
  using file = Deno.openSync(path, { write: true, create: true, truncate: true });
  const encoder = new TextEncoder();
  for (const row of traceRows(functions, seed)) {
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
      output: { type: "string", short: "o", default: "traces" },
    },
  });
  const whole = (name: "functions" | "days" | "seed", max: number) => {
    const value = /^\d+$/.test(values[name]) ? Number(values[name]) : NaN;
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
  for (let day = 1; day <= days; day++) {
    console.log(writeTrace(values.output, day, functions, seed + day - 1));
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
