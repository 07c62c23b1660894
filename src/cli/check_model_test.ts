import assert from "node:assert/strict";
import { encode as encodePng } from "fast-png";
import { join } from "node:path";
import { generateModels } from "../../testdata/generate.ts";
import { writeModel } from "../worker/onnx/testing.ts";
import { OCR_SHAPES, ocrFiles } from "../worker/onnx/testing_ocr.ts";
import { parseShape } from "./options/model.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command as users do, on the CPU. */
async function checkModel(...args: string[]): Promise<Ended> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", "clockwork", "check-model", ...args],
    cwd: ROOT,
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(60_000),
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = Deno.makeTempDirSync();
  try {
    for (const [path, bytes] of generateModels()) writeModel(directory, join(path, ".."), bytes);
    await body(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

Deno.test("check-model shows sizes, pages, times and the top outputs", () =>
  withDirectory(async (directory) => {
    const input = join(directory, "input.raw");
    Deno.writeFileSync(input, new Uint8Array(64 * 4));
    const { code, stdout, stderr } = await checkModel(
      ...["--device", "wasm", "-i", "2", "-p", "65536", "--input", input],
      join(directory, "mlp", "model"),
    );
    assert.equal(code, 0, stderr);
    for (
      const expected of [
        /^\S+mlp\/model\.onnx$/m,
        /Device: .*\(wasm, 1 thread\)/,
        /Input size: 256 bytes: x float32\[batch,64\]/,
        /Output size: 32 bytes: y float32\[batch,8\]/,
        /Workspace: n\/a/,
        /paged \(non-paged\) \[pages\]: 131072 \(68384\) \[2\]/,
        /Weights transfer latency: \d+\.\d{3} ms/,
        /batch {2}median ms +p99 ms +max ms +requests\/s/,
        /b16 +\d+\.\d{3} +\d+\.\d{3} +\d+\.\d{3} +\d+\.\d$/m,
        /Results against the CPU's: it is the CPU/,
        /Top outputs of y:\n {4}\d: 0\.\d+/,
      ]
    ) assert.match(stdout, expected);
    assert.ok(!stdout.includes("\x1b"), "no colour when it is not a terminal");
  }));

Deno.test("the PaddleOCR models pass check-model, and keep the sizes given", () =>
  withDirectory(async (directory) => {
    const files = await ocrFiles();
    for (const name of ["cls", "det", "rec"] as const) {
      // One batch size is enough here: the larger ones take seconds.
      const json = { batch_sizes: [1] };
      writeModel(directory, name, Deno.readFileSync(files[name]), json);
      const { code, stdout, stderr } = await checkModel(
        ...[
          "--device",
          "wasm",
          "-i",
          "1",
          "--json",
          "--write",
          "--shape",
          `x=${OCR_SHAPES[name].join()}`,
        ],
        join(directory, name),
      );
      assert.equal(code, 0, stderr);
      const report = JSON.parse(stdout);
      const elements = OCR_SHAPES[name].reduce((a, b) => a * b, 1);
      assert.equal(report.input_bytes, elements * 4, name);
      assert.ok(report.exec_ns["1"].median > 0);
      const kept = JSON.parse(Deno.readTextFileSync(join(directory, name, "model.json")));
      assert.deepEqual(kept.shapes, { x: [...OCR_SHAPES[name]] });
    }
  }));

Deno.test("an image goes in, labels come out, and the profile is kept only when told to", () =>
  withDirectory(async (directory) => {
    const image = join(directory, "image.png");
    const pixels = new Uint8Array(4 * 4 * 3).fill(90);
    Deno.writeFileSync(image, encodePng({ width: 4, height: 4, data: pixels, channels: 3 }));
    const labels = join(directory, "labels.txt");
    Deno.writeTextFileSync(labels, Array.from({ length: 10 }, (_, i) => `kind ${i}`).join("\n"));
    const model = join(directory, "residual_conv");
    const args = [model, "--device", "wasm", "-i", "1", "-b", "1", "--labels", labels];
    const norm = ["--mean", "0.5,0.4,0.3", "--std", "0.2"];
    const shown = await checkModel(...args, "--input", image, ...norm);
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stdout, /Top outputs of scores:\n {4}(\d): -?\d+\.\d+ {2}kind \1\n/);
    assert.throws(() => Deno.statSync(join(model, "model.json")), Deno.errors.NotFound);
    const written = await checkModel(...args, "--input", `image=${image}`, "--write", "--json");
    assert.equal(written.code, 0, written.stderr);
    assert.match(JSON.parse(written.stdout).top[0].label, /^kind \d$/);
    const { profiles } = JSON.parse(Deno.readTextFileSync(join(model, "model.json")));
    const [profile] = Object.values(profiles) as { exec_ns: Record<string, number> }[];
    assert.deepEqual(Object.keys(profile!.exec_ns), ["1"]);
  }));

Deno.test("check-model refuses what is wrong, with a message and an exit code", () =>
  withDirectory(async (directory) => {
    writeModel(directory, "text", new TextEncoder().encode("not a model"));
    const mlp = join(directory, "mlp");
    const short = join(directory, "short.raw");
    Deno.writeFileSync(short, new Uint8Array(3));
    const cases: [string[], number, RegExp][] = [
      [["/nowhere/model"], 1, /no model at \/nowhere\/model/],
      [["nowhere"], 1, /no model at nowhere \(looked up in/],
      [[join(directory, "text"), "--device", "wasm"], 1, /not an ONNX file/],
      [
        [mlp, "--device", "wasm", "-i", "1", "--input", short],
        1,
        /short\.raw: it has 3 bytes; input "x" float32\[64\] takes 256/,
      ],
      [[mlp, "--input", join(directory, "none")], 2, /cannot read the input/],
      [[mlp, "--device", "tpu"], 2, /Allowed choices are auto, dawn, deno, wasm/],
      [[mlp, "-i", "0"], 2, /whole number/],
      [[mlp, "--std", "0"], 2, /divided by it: not 0/],
      [[mlp, "--mean", "1,2"], 2, /Expected one number, or three/],
      [[mlp, "--fill", "x"], 2, /Expected an input and a number/],
      [[mlp, "--tolerance", "float=1"], 2, /Expected a data type and a number/],
      [[mlp, "--labels", join(directory, "none")], 2, /cannot read the labels/],
      [[mlp, "--device", "wasm", "--shape", "z=1"], 1, /the input "z", which the model does not/],
      [[mlp, "--device", "wasm", "--gpu", "0"], 1, /--gpu chooses among Dawn's adapters/],
      [[mlp, "--shape", "x=a"], 2, /Expected an input and its sizes/],
      [[mlp, "--frobnicate"], 2, /unknown option/],
      [[], 2, /missing required argument/],
    ];
    for (const [args, code, message] of cases) {
      const ended = await checkModel(...args);
      assert.equal(ended.code, code, `${args}: ${ended.stderr}`);
      assert.match(ended.stderr, message);
      assert.equal(ended.stdout, "", `${args}`);
    }
  }));

Deno.test("--shape adds up over several inputs", () => {
  assert.deepEqual(parseShape("b=2", parseShape("a=1,3", undefined)), { a: [1, 3], b: [2] });
  assert.deepEqual(parseShape("a=b=4", undefined), { "a=b": [4] });
  for (const bad of ["", "x", "x=", "=1", "x=0", "x=1,-2", "x=1.5", `x=${2 ** 31}`]) {
    assert.throws(() => parseShape(bad, undefined), /Expected an input/);
  }
});
