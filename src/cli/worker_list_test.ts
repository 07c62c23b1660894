import assert from "node:assert/strict";
import { parseWorkerFile, parseWorkers } from "./worker_list.ts";

Deno.test("WORKERS may mix addresses, files, names and those that join", () => {
  const list = parseWorkers("volta01,volta02:99, @workers.txt,dns:pool.example:7,join");
  assert.deepEqual(list.addresses, [
    { hostname: "volta01", port: 12345 },
    { hostname: "volta02", port: 99 },
  ]);
  assert.deepEqual(list.sources.map(({ name }) => name), ["@workers.txt", "dns:pool.example:7"]);
  assert.equal(list.join, true);
  assert.equal(parseWorkers("volta01").join, false);
  for (const wrong of ["", "a,", "@", "dns:", "a:b:c", "volta01,volta01:12345"]) {
    assert.throws(() => parseWorkers(wrong), wrong);
  }
});

Deno.test("a file of workers has comments, and no worker twice; what is wrong is named by its line", () => {
  const text = "# all\nvolta01 volta02:99,volta01:12345\r\n\n[::1]:5 # here\n";
  assert.deepEqual(parseWorkerFile(text), [
    { hostname: "volta01", port: 12345 },
    { hostname: "volta02", port: 99 },
    { hostname: "::1", port: 5 },
  ]);
  assert.deepEqual(parseWorkerFile("\n# none\n"), []);
  assert.throws(() => parseWorkerFile("a\nb:c:d"), /^Error: line 2: "b:c:d" is not an address/);
});

Deno.test("a name stands for all of its addresses; one that there is not is told of", async () => {
  const [localhost] = parseWorkers("dns:localhost:7").sources;
  assert.deepEqual(await localhost!.read(), [
    { hostname: "127.0.0.1", port: 7, name: "localhost" },
  ]);
  const [missing] = parseWorkers("@/no/such/file").sources;
  await assert.rejects(missing!.read(), /cannot read the list of workers \/no\/such\/file/);
});
