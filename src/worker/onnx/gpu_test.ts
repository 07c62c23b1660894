/**
 * WebGPU, on whatever this machine has: its GPU, or one emulated by Mesa's lavapipe or by the SwiftShader
 * that comes with Chromium. Where there is none, the steps are ignored and say why.
 */
import assert from "node:assert/strict";
import type { GpuCaseResult } from "./testing_gpu.ts";
import type { TwoGpusResult } from "./testing_two_gpus.ts";

const SWIFTSHADER = "/usr/lib/chromium/vk_swiftshader_icd.json";
/** A driver that hangs must not hang the tests. */
const TIMEOUT_MS = 120_000;

interface Unavailable {
  readonly unavailable: string;
}

/**
 * Runs a program of this folder, which prints a line of JSON. Software drivers crash now and then (one in
 * some 30 runs of two SwiftShader devices, without a word or over a double free); where it is ours to crash, it
 * does so again.
 */
async function runProgram<T>(
  env: Record<string, string>,
  program: string,
  args: readonly string[],
  tries = 2,
): Promise<T | Unavailable> {
  const path = new URL(program, import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--unstable-webgpu", "--no-check", path, ...args],
    env,
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const { code, signal, stdout, stderr } = await child.output();
  const crashed = signal === "SIGSEGV" || signal === "SIGABRT";
  if (crashed && tries > 1) return await runProgram(env, program, args, tries - 1);
  const text = new TextDecoder().decode(stdout).trim();
  assert.equal(
    code,
    0,
    `${program} ${args.join(" ")}: exit code ${code}, signal ${signal}: ${
      new TextDecoder().decode(stderr)
    }; it had printed: ${text}`,
  );
  return JSON.parse(text.split("\n").at(-1)!);
}

/** Tries this machine's own drivers, then SwiftShader. */
async function onSomeGpu<T extends object>(
  program: string,
  args: readonly string[],
): Promise<T | Unavailable> {
  const result = await runProgram<T>({}, program, args);
  if (!("unavailable" in result)) return result;
  try {
    Deno.statSync(SWIFTSHADER);
  } catch {
    return { unavailable: `${result.unavailable}; no SwiftShader at ${SWIFTSHADER}` };
  }
  return await runProgram<T>({ VK_ICD_FILENAMES: SWIFTSHADER }, program, args);
}

// Dawn's shaders compile slowly on SwiftShader, so that it gets one small model.
const cases = [
  ["deno", [
    "cls",
    "residual_conv",
    "two_in_two_out",
    "fixed_batch",
    "large",
    "noisy",
    "weightless",
  ]],
  ["dawn", ["two_in_two_out"]],
] as const;

const WHY_NOT_PAGED = new Map([
  ["weightless", /no weights on the device/],
  ["noisy", /the outputs differ from one run to the next/],
]);

for (const [device, models] of cases) {
  Deno.test(`${device}: weights move in pages, with right results`, async (t) => {
    const result = await onSomeGpu<GpuCaseResult>("./testing_gpu.ts", [device, ...models]);
    const ignore = "unavailable" in result;
    if (ignore) console.log(`ignored, no ${device} device: ${result.unavailable}`);
    await t.step({
      name: "a model that does not load is refused, and the next ones load",
      ignore,
      fn: () => {
        assert.ok(!ignore);
        assert.match(result.refusal, /^2: .*Frobnicate/);
      },
    });
    await t.step({
      name: "a model whose results differ too much from the CPU's is refused, if asked for",
      ignore: ignore || result.strict === null,
      fn: () => {
        assert.ok(!ignore && result.strict !== null);
        assert.match(result.strict, /^2: .*differs from the CPU's by .*tolerance of -1/);
      },
    });
    for (const name of models) {
      await t.step({
        name,
        ignore,
        fn: () => {
          assert.ok(!ignore);
          const served = result.models.find((one) => one.name === name)!;
          const batchSizes = name === "cls" || name === "fixed_batch" ? [1] : [1, 2];
          // A software GPU on a busy machine may have no time for more than one.
          if (!/took more than/.test(served.notes.join())) {
            assert.deepEqual(served.batchSizes, batchSizes);
          }
          const notes = served.notes.join("\n");
          const why = WHY_NOT_PAGED.get(name);
          assert.equal(served.paged, why === undefined, notes);
          if (why !== undefined) assert.match(notes, why);
          assert.ok(served.check !== null && served.check.difference < served.check.tolerance);
          assert.equal(served.sameAsPlain, name !== "noisy");
          assert.ok(served.difference < 1e-3, `differs by ${served.difference}`);
          assert.equal(served.copiesAgree, name !== "noisy");
        },
      });
    }
  });
}

Deno.test("two GPUs execute at once, each with its own weights", async (t) => {
  const result = await onSomeGpu<TwoGpusResult>("./testing_two_gpus.ts", []);
  const ignore = "unavailable" in result;
  if (ignore) console.log(`ignored, no two devices: ${result.unavailable}`);
  await t.step({
    name: "with right results",
    ignore,
    fn: () => {
      assert.ok(!ignore);
      assert.equal(result.devices.length, 2);
      for (const difference of result.differences) assert.ok(difference < 1e-3, `${difference}`);
      assert.equal(result.sameTogether, true);
      assert.equal(result.overlapped, true);
    },
  });
});
