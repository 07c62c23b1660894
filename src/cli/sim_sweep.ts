/**
 * `deno task sim:sweep`: simulates random clusters, workloads and faults, and prints which seeds violate a
 * guarantee, with the command that replays each.
 */
import { Command } from "commander";
import { fileURLToPath } from "node:url";
import { runScenario } from "../simulator/scenario.ts";
import { ModelDirs } from "../worker/model_dirs.ts";
import { modelReader } from "../worker/emulated/model.ts";
import { parseInteger } from "./options/parse.ts";

interface Options {
  readonly seeds: number;
  readonly from: number;
  readonly verbose: boolean;
}

const seed = parseInteger(0, 0xffff_ffff);

await new Command("sim:sweep")
  .description("Simulates random clusters, workloads and faults, one for each seed.")
  .option("--seeds <n>", "how many", parseInteger(1, 0xffff_ffff), 200)
  .option("--from <seed>", "the first", seed, 0)
  .exitOverride(({ exitCode }) => Deno.exit(exitCode === 0 ? 0 : 2))
  .option("--verbose", "print every seed, not only those that fail", false)
  .action(({ seeds, from, verbose }: Options) => {
    const models = new URL("../../config/modelzoo", import.meta.url);
    const readModel = modelReader(ModelDirs.only(fileURLToPath(models)));
    const startMs = performance.now();
    let failed = 0;
    let requests = 0;
    for (let seed = from; seed < from + seeds; seed++) {
      const outcome = runScenario(seed, readModel);
      requests += outcome.requests;
      const { violations, description } = outcome;
      if (verbose) {
        console.log(`seed ${seed}: ${description}: ${outcome.good}/${outcome.requests} good`);
      }
      if (violations.length > 0) {
        failed++;
        console.log(`FAILED seed ${seed}: ${description}`);
        for (const violation of violations) console.log(`  ${violation}`);
        console.log(`  replay: deno task sim:sweep --seeds 1 --from ${seed} --verbose`);
      }
      if ((seed + 1 - from) % 1000 === 0) {
        console.log(`${seed + 1 - from} of ${seeds} seeds, ${failed} failed`);
      }
    }
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    console.log(`${seeds} seeds, ${requests} requests, ${failed} failed, in ${seconds} s`);
    if (failed > 0) Deno.exitCode = 1;
  })
  .parseAsync(Deno.args, { from: "user" });
