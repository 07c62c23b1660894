/**
 * Uploads damaged models to a real worker, loads and removes each of them, and prints the effect on the
 * nodes' memory and on a client that is served at the same time.
 *
 *     deno task fuzz:uploads [--models 10000] [--seconds 3600] [--seed 1]
 */
import { Command } from "commander";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { parseInteger } from "../src/cli/options/parse.ts";
import {
  type ClockworkClient,
  connect,
  RequestError,
  type UploadSource,
} from "../src/client/mod.ts";
import { Random } from "../src/core/random.ts";
import { mb, Nodes, printServed, sleep } from "./nodes.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
/** Models before memory is looked at first: by then code is compiled, and caches are full. */
const WARM_MODELS = 200;
/** How long the client runs alone. */
const CALM_S = 15;
/** Loads that take longer are given up. */
const LOAD_TIMEOUT_S = 10;
const MODEL_DIR = new URL("../testdata/models/", import.meta.url).pathname;
/** What the client asks for, under the name that its workload has for it. */
const SERVED = "mlp";
const SERVED_AS = "resnet50_v2";

const originals = ["mlp", "fixed_batch", "residual_conv", "two_in_two_out"].map((name) =>
  Deno.readFileSync(join(MODEL_DIR, name, "model.onnx"))
);

/** A model with something wrong; now and then, by chance, with nothing that matters. */
function mutated(random: Random): Uint8Array {
  const original = originals[random.below(originals.length)]!;
  let bytes = original.slice();
  // The structure of a model is at its ends; in between are mostly weights.
  const place = () => {
    const near = random.below(Math.min(1000, bytes.length));
    return [near, bytes.length - 1 - near, random.below(bytes.length)][random.below(3)]!;
  };
  for (let i = random.below(4); i >= 0; i--) {
    switch (random.below(5)) {
      case 0:
        bytes[place()]! ^= 1 << random.below(8);
        break;
      case 1:
        bytes[place()] = random.below(256);
        break;
      case 2:
        bytes = bytes.slice(0, 1 + place());
        break;
      case 3: {
        const [from, to] = [place(), place()];
        bytes.copyWithin(to, from, from + random.below(64));
        break;
      }
      case 4: {
        const at = place();
        const other = originals[random.below(originals.length)]!.subarray(0, random.below(300));
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...other, ...bytes.subarray(at)]);
      }
    }
  }
  return bytes;
}

function source(name: string, bytes: Uint8Array): UploadSource {
  return {
    name,
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    read: (offset, length) => Promise.resolve(bytes.slice(offset, offset + length)),
  };
}

/** Uploads, loads and removes a model, and says what came of it in a few words. */
async function attempt(client: ClockworkClient, files: readonly UploadSource[]): Promise<string> {
  const { path } = await client.uploadModel("fuzz", files);
  const outcome = await load(client, path);
  await client.removeUpload(path);
  return outcome;
}

async function load(client: ClockworkClient, path: string): Promise<string> {
  try {
    const [model] = await client.loadModel(path);
    await client.unloadModel(model!);
    return "loaded";
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    const what = error.message.replace(/.*(model\.onnx: |worker \d+: )/, "");
    return what.replaceAll(/["'\d(].*/g, "").slice(0, 60);
  }
}

async function attack(
  port: number,
  random: Random,
  models: number,
  untilMs: number,
) {
  const client = await connect(`127.0.0.1:${port}`, { token: TOKEN });
  const outcomes = new Map<string, number>();
  let slowestMs = 0;
  let count = 0;
  for (; count < models && performance.now() < untilMs; count++) {
    const files = [source("model.onnx", mutated(random))];
    if (random.below(10) === 0) {
      const json = new TextEncoder().encode('{"batch_sizes":[1,2],"shapes":{"x":[1,64]}}');
      json[random.below(json.length)] = 32 + random.below(95);
      files.push(source("model.json", json));
    }
    const beginMs = performance.now();
    const outcome = await attempt(client, files);
    slowestMs = Math.max(slowestMs, performance.now() - beginMs);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  await client.close();
  return { outcomes, slowestMs, count };
}

const { models, seconds, seed, verbose } = new Command()
  .option("--models <n>", "how many", parseInteger(1, 1e9), 10_000)
  .option("--seconds <n>", "end after so long", parseInteger(1, 1e6), 3600)
  .option("--seed <n>", "of the mutations", parseInteger(0, 2 ** 32 - 1), 1)
  .option("--verbose", "show what processes print", false)
  .parse(Deno.args, { from: "user" })
  .opts<{ models: number; seconds: number; seed: number; verbose: boolean }>();
const directory = Deno.makeTempDirSync({ prefix: "clockwork-fuzz-uploads-" });
Deno.mkdirSync(join(directory, SERVED_AS));
Deno.copyFileSync(join(MODEL_DIR, SERVED, "model.onnx"), join(directory, SERVED_AS, "model.onnx"));
const config = join(directory, "worker.cfg");
Deno.writeTextFileSync(config, `load_timeout_s = ${LOAD_TIMEOUT_S}\n`);
try {
  await using nodes = new Nodes(
    {
      worker: ["worker", "--device", "wasm", "-c", config],
      env: { CLOCKWORK_MODEL_DIR: directory },
      workload: ["poisson-open-loop", "1", "50", "--slo", "100ms"],
    },
    TOKEN,
    verbose,
  );
  await nodes.start();
  const random = new Random(seed);
  const port = nodes.port.controller;
  const calm = await nodes.serve(sleep(CALM_S));
  await attack(port, random, WARM_MODELS, Infinity);
  const before = await nodes.memory();
  const beginMs = performance.now();
  let result: Awaited<ReturnType<typeof attack>> | undefined;
  const attacked = async () => {
    result = await attack(port, random, models, beginMs + 1000 * seconds);
  };
  const meanwhile = await nodes.serve(attacked());
  const tookS = (performance.now() - beginMs) / 1000;
  await sleep(10);
  const after = await nodes.memory();
  const { outcomes, slowestMs, count } = result!;
  console.log(
    `${count} models in ${tookS.toFixed(0)} s; the slowest took ${(slowestMs / 1000).toFixed(1)} s`,
  );
  for (const [outcome, count] of [...outcomes].sort((a, b) => b[1] - a[1]).slice(0, 20)) {
    console.log(`  ${String(count).padStart(6)} ${outcome}`);
  }
  for (const [node, { residentBytes, heapBytes }] of before) {
    const now = after.get(node)!;
    console.log(
      `  ${node}: resident ${mb(residentBytes)} → ${mb(now.residentBytes)} MB, ` +
        `heap ${mb(heapBytes)} → ${mb(now.heapBytes)} MB`,
    );
  }
  printServed("before", calm);
  printServed("meanwhile", meanwhile);
} finally {
  Deno.removeSync(directory, { recursive: true });
}
Deno.exit(0);
