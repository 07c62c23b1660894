/**
 * The scheduler's CPU time per request, for clusters of many sizes. A round of the benchmark is 1000
 * requests: read milliseconds per round as microseconds per request.
 */
import { SchedulerLoad } from "../src/bench/scheduler_load.ts";

const ROUND = 1000;

const sizes: readonly (readonly [number, number])[] = [
  [1, 100],
  [12, 100],
  [12, 4000],
  [100, 4000],
  [1000, 4000],
  [1000, 40_000],
];
for (const [mix, hotShare] of [["warm", 1], ["5 % cold", 0.95]] as const) {
  for (const [gpus, models] of sizes) {
    let load: SchedulerLoad | undefined;
    Deno.bench({
      name: `1000 requests, ${gpus} GPUs, ${models} models, ${mix}`,
      group: mix,
      baseline: gpus === 12 && models === 4000,
      n: 30,
      warmup: 5,
      fn: () => {
        // Built when its turn comes, in the warm-up: the large ones take memory.
        load ??= new SchedulerLoad(gpus, models, hotShare);
        for (let i = 0; i < ROUND; i++) load.step();
        load.check();
      },
    });
  }
}
