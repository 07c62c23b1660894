import assert from "node:assert/strict";
import { generateModels } from "./generate.ts";

Deno.test("the committed models are what the generator makes", () => {
  const directory = new URL("./models/", import.meta.url);
  let totalBytes = 0;
  for (const [path, bytes] of generateModels()) {
    totalBytes += bytes.length;
    assert.deepEqual(
      Deno.readFileSync(new URL(path, directory)),
      bytes,
      `${path} differs: run deno run -A testdata/generate.ts`,
    );
  }
  assert.ok(totalBytes < 1_000_000, `${totalBytes} bytes`);
});
