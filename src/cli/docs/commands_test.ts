/** Keeps the command lines in README.md and docs/ such that they can be typed. */
import assert from "node:assert/strict";
import { argumentsProblem, commandsIn, lineProblem, shellWords } from "../testing_commands.ts";

const ROOT = new URL("../../../", import.meta.url);

function pages(): string[] {
  const docs = [...Deno.readDirSync(new URL("docs", ROOT))].map(({ name }) => `docs/${name}`);
  return ["README.md", ...docs.filter((name) => name.endsWith(".md"))];
}

for (const page of pages()) {
  Deno.test(`the commands in ${page} are taken`, async () => {
    const problems: string[] = [];
    for (const command of commandsIn(Deno.readTextFileSync(new URL(page, ROOT)))) {
      const problem = await lineProblem(command);
      if (problem !== null) problems.push(`${command}\n    ${problem}`);
    }
    assert.deepEqual(problems, []);
  });
}

Deno.test("commands are found in blocks and sentences, forms are not", () => {
  const page =
    "Say `deno task test`, `deno task` or `clockwork client`:\n\n    deno task clockwork worker -p 1  # note\n\n" +
    "```sh\nFOO=1 clockwork client a \\\n  simple\n```\n\n" +
    "    clockwork client ADDRESS WORKLOAD\n    deno task clockwork worker [options]\n    $ deno task x\n";
  assert.deepEqual(commandsIn(page), [
    "deno task clockwork worker -p 1  # note",
    "FOO=1 clockwork client a simple",
    "deno task x",
    "deno task test",
    "clockwork client -h",
  ]);
  assert.deepEqual(commandsIn(Deno.readTextFileSync(new URL("README.md", ROOT))).slice(0, 3), [
    "npx -y deno@2.9.6 task demo",
    "npx -y deno@2.9.6 task test",
    "deno task clockwork worker-dummy -n 2",
  ]);
});

Deno.test("lines are split as a shell splits them", () => {
  assert.deepEqual(shellWords(`a 'b c' "d"e f\\ g # h`), ["a", "b c", "de", "f g"]);
  assert.deepEqual(shellWords("a b | c"), ["a", "b"]);
  assert.deepEqual(shellWords("a 2> b"), ["a"]);
});

Deno.test("what Clockwork does not take is told", async () => {
  const cases: [string, RegExp][] = [
    ["deno task clockwork worker --no-such-option", /unknown option/],
    ["deno task clockwork wroker", /unknown command/],
    ["npx -y deno@2.9.6 task clockwork client 127.0.0.1 no-such-workload", /no-such-workload/],
    ["clockwork client 127.0.0.1 poisson-open-loop many 5", /num_models/],
    ["clockwork controller INFER7 127.0.0.1", /no scheduler INFER7/],
    ["deno task no-such-task", /no task/],
    ["deno task profile chek", /chek/],
    ["deno run -A bench/no_such_file.ts", /no_such_file/],
  ];
  for (const [line, problem] of cases) assert.match((await lineProblem(line)) ?? "", problem, line);
  assert.equal(await argumentsProblem(["worker-dummy", "-n", "2"]), null);
  assert.equal(await argumentsProblem(["client", "-h"]), null);
});
