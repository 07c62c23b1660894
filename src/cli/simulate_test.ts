import assert from "node:assert/strict";
import { join } from "node:path";
import { Processes } from "./testing.ts";

const CLUSTER = ["--workers", "2", "--gpus", "1", "--duration", "6s", "--noise", "0.1"];
const WORKLOAD = ["--", "poisson-open-loop", "4", "200"];

Deno.test("the same arguments write the same logs, byte for byte, and other seeds others", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const logsOf = async (name: string, ...more: string[]) => {
      const logs = join(directory, name);
      const args = ["simulate", "INFER4", ...CLUSTER, "--log-dir", logs, ...more, ...WORKLOAD];
      const { code, stdout, stderr } = await processes.start(args).ended;
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^throughput=\d+\.\d\d min=3\.\d\d max=/m);
      assert.match(stdout, /^requests=\d+ success=100\.00% /m);
      assert.match(stdout, /^Simulated 6 s in /m);
      const names = ["clockwork_request_log.tsv", "clockwork_action_log.tsv"];
      return Promise.all(names.map((file) => Deno.readTextFile(join(logs, file))));
    };
    const [first, again, other] = await Promise.all([
      logsOf("first"),
      logsOf("again"),
      logsOf("other", "--seed", "2"),
    ]);
    assert.ok(first[0]!.split("\n").length > 500, "requests were logged");
    assert.deepEqual(again, first);
    assert.notDeepEqual(other, first);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("what cannot be simulated is answered with 2 and what was wrong", async () => {
  await using processes = new Processes();
  const logs = await Deno.makeTempDir();
  const kept = join(logs, "clockwork_request_log.tsv");
  await Deno.writeTextFile(kept, "rows\n".repeat(1000));
  const cases: [string[], RegExp][] = [
    [
      ["INFER5", "--", "simple"],
      /unknown scheduler "INFER5": those that can be simulated are INFER4/,
    ],
    [["INFER4", "--", "nothing"], /^error: unknown workload `nothing`/],
    [
      ["INFER4", "--", "poisson-open-loop", "x", "1"],
      /`poisson-open-loop`: parameter num_models is "x"/,
    ],
    [["INFER4", "--fault", "fire@1:2", "--", "simple"], /"fire@1:2" is not a fault/],
    [["INFER4", "--noise", "-1", "--", "simple"], /Expected a number from 0 to 10/],
    [["INFER4", "--duration", "long", "--", "simple"], /Expected a time such as/],
  ];
  await Promise.all(cases.map(async ([args, message]) => {
    const { code, stderr } = await processes.start(["simulate", "--log-dir", logs, ...args]).ended;
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  }));
  // A typing mistake must not cost the logs of the run before.
  assert.equal((await Deno.stat(kept)).size, 5000);
  await Deno.remove(logs, { recursive: true });

  const elsewhere = { CLOCKWORK_MODEL_DIR: join(logs, "nowhere") };
  const { code, stderr } = await processes.start(["simulate", "INFER4", "simple"], elsewhere).ended;
  assert.equal(code, 2);
  assert.match(stderr, /^error: cannot list the model directory .* set CLOCKWORK_MODEL_DIR .*\n$/);
});
