import assert from "node:assert/strict";
import { encode } from "fast-png";
import { fileURLToPath } from "node:url";
import { Processes } from "./testing.ts";

const MODELS = fileURLToPath(new URL("../../testdata/models", import.meta.url));

Deno.test("infer loads a model, and shows the largest outputs for an image", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const env = { CLOCKWORK_MODEL_DIR: MODELS };
    const worker = await processes.worker(["worker", "--device", "wasm"], env);
    const { address } = await processes.controller([worker]);
    const image = `${directory}/image.png`;
    const data = Uint8Array.from({ length: 40 * 30 * 3 }, (_, i) => i % 251);
    Deno.writeFileSync(image, encode({ width: 40, height: 30, data, channels: 3 }));
    const labels = `${directory}/labels.txt`;
    Deno.writeTextFileSync(labels, Array.from({ length: 10 }, (_, i) => `kind ${i}`).join("\n"));
    const infer = (...args: string[]) =>
      processes.start(["infer", address, "residual_conv", "--slo", "30s", ...args]).ended;

    const first = await infer("--image", image, "--labels", labels, "--top", "3");
    assert.equal(first.code, 0, first.stderr);
    const [loading, answered, ...top] = first.stdout.trimEnd().split("\n");
    assert.equal(loading, "residual_conv is not loaded yet: loading it");
    assert.match(answered!, /^residual_conv \(model 0\) answered in [\d.]+ ms: scores FP32\[10\]$/);
    assert.equal(top.length, 3);
    for (const line of top) assert.match(line, /^ {2}(\d): -?[\d.e-]+ {2}kind \1$/);

    const again = await infer("--input", `image=${image}`, "--labels", labels, "--json");
    assert.equal(again.code, 0, again.stderr);
    const result = JSON.parse(again.stdout);
    assert.equal(result.top.length, 5);
    assert.deepEqual(
      result.top.slice(0, 3).map(({ index }: { index: number }) => `${index}`),
      top.map((line) => line.trim()[0]),
    );
    assert.equal(again.stderr, "", "it is loaded already");

    const wrong = await infer("--input", labels);
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /input "image" float32\[3,32,32\] takes 12288/);
    const absent = await processes.start(["infer", address, "nobody"]).ended;
    assert.equal(absent.code, 1);
    assert.match(absent.stderr, /^error: loading nobody failed: worker 0: no model at nobody/m);
    const missing = await infer("--image", `${directory}/none.png`);
    assert.equal(missing.code, 2);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
