/**
 * `deno task zoo NAME… [-o DIR] [--seed N]`: writes well-known networks as ONNX files with seeded
 * weights, DIR/NAME/model.onnx, for a real worker to run. They classify nothing sensible, but take the
 * memory and the time of the real ones.
 */
import { Command, InvalidArgumentError } from "commander";
import { join } from "node:path";
import { parseInteger } from "../../src/cli/options/parse.ts";
import { nearest } from "../../src/client/nearest.ts";
import { seededFill } from "./graph.ts";
import { buildNetwork, onnxNames } from "./onnx.ts";

function known(name: string, previous: string[] | undefined): string[] {
  if (!onnxNames.includes(name)) {
    const near = nearest(name, onnxNames);
    throw new InvalidArgumentError(
      `There is no network ${name}` + (near === null ? "." : `; did you mean ${near}?`) +
        ` The networks are ${onnxNames.join(", ")}.`,
    );
  }
  return [...(previous ?? []), name];
}

function write(names: readonly string[], options: { output: string; seed: number }): void {
  for (const name of names) {
    const { parameters, encode } = buildNetwork(name, seededFill(options.seed));
    const bytes = encode();
    const folder = join(options.output, name);
    Deno.mkdirSync(folder, { recursive: true });
    const path = join(folder, "model.onnx");
    Deno.writeFileSync(path, bytes);
    console.log(
      `${path}: ${(bytes.length / 1e6).toFixed(1)} MB, ${
        (parameters / 1e6).toFixed(2)
      } M parameters`,
    );
  }
}

if (import.meta.main) {
  const command = new Command("zoo")
    .description("Writes well-known networks as ONNX files with seeded weights.")
    .argument("<names...>", `networks: ${onnxNames.join(", ")}`, known)
    .option("-o, --output <dir>", "directory for NAME/model.onnx", "models")
    .option("--seed <n>", "seed of the weights", parseInteger(0, 0xffff_ffff), 1)
    .exitOverride(({ exitCode }) => Deno.exit(exitCode === 0 ? 0 : 2))
    .action(write);
  try {
    command.parse(["deno", "zoo", ...Deno.args]);
  } catch (error) {
    console.error(`error: ${(error as Error).message}`);
    Deno.exit(1);
  }
}
