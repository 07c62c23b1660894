/** `clockwork report`, as a user meets it. */
import assert from "node:assert/strict";
import { type ActionRecord, type RequestRecord } from "../telemetry/records.ts";
import { generateLoad } from "../telemetry/report/generate.ts";
import { actionLog, requestLog } from "../telemetry/report/testing.ts";
import { ACTION_LOG, REQUEST_LOG } from "./logs/log_file.ts";
import { Processes } from "./testing.ts";

const requests: RequestRecord[] = [];
const actions: ActionRecord[] = [];
generateLoad(
  { seed: 1, requests: 900, gpus: 2, models: 10, requestsPerS: 300 },
  (record) => requests.push(record),
  (record) => actions.push(record),
);

/** Runs `test` with a directory and a way to run the report on directories in it. */
async function inDirectory(
  test: (directory: string, report: (...args: string[]) => Ended) => Promise<void>,
): Promise<void> {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    await test(directory, (...args) => processes.start(["report", ...args]).ended);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
type Ended = ReturnType<Processes["start"]>["ended"];

function makeLogs(directory: string, files: Readonly<Record<string, string>>): string {
  Deno.mkdirSync(directory, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    Deno.writeTextFileSync(`${directory}/${name}`, text);
  }
  return directory;
}

Deno.test("report reads rotated logs in order, whole or cut short, and writes table, JSON and page", async () => {
  await inDirectory(async (root, report) => {
    const logs = makeLogs(`${root}/logs`, {
      [`${REQUEST_LOG}.2`]: requestLog(requests.slice(0, 300)),
      [`${REQUEST_LOG}.1`]: requestLog(requests.slice(300, 600)),
      // As a crash leaves it.
      [REQUEST_LOG]: requestLog(requests.slice(600)).slice(0, -20),
      [ACTION_LOG]: actionLog(actions),
    });
    const page = `${root}/report.html`;
    const [table, json] = await Promise.all([report(logs, "-o", page), report(logs, "--json")]);
    assert.equal(table.code, 0, table.stderr);
    assert.equal(json.code, 0, json.stderr);
    const numbers = JSON.parse(json.stdout);
    assert.equal(numbers.requests.count, 899);
    assert.equal(numbers.actions.count, actions.length);
    const note = `the last line of ${logs}/${REQUEST_LOG} is cut short, and left out`;
    assert.deepEqual(numbers.notes, [note]);
    assert.equal(json.stderr, "");
    assert.match(table.stdout, /^Requests +899 \(/m);
    assert.ok(table.stdout.endsWith(`\nNote: ${note}.\n`));
    assert.equal(table.stderr, `The page is in ${page}\n`);
    assert.ok((await Deno.readTextFile(page)).startsWith("<!DOCTYPE html>\n"));
  });
});

Deno.test("report says what is wrong with a directory, or with a log in it", async () => {
  await inDirectory(async (root, report) => {
    const text = requestLog(requests.slice(0, 3));
    const [header, first] = text.split("\n");
    const cases: [directory: string, message: RegExp][] = [
      [`${root}/none`, /^error: cannot read the directory .*\/none: No such file.*\n$/],
      [
        makeLogs(`${root}/other`, { "a.txt": "" }),
        /^error: there are no logs in .*\/other: expected clockwork_request_log\.tsv and clockwork_action_log\.tsv, as a controller writes them to its CLOCKWORK_LOG_DIR\n$/,
      ],
      [
        makeLogs(`${root}/swapped`, { [ACTION_LOG]: text }),
        /^error: .*\/swapped\/clockwork_action_log\.tsv, line 1: column 2 is "request_id", not "action_id"; expected these columns, separated by tabs: t action_id .*\n$/,
      ],
      [
        makeLogs(`${root}/damaged`, { [REQUEST_LOG]: `${header}\n${first}\n${first}\tmore\n` }),
        /^error: .*\/damaged\/clockwork_request_log\.tsv, line 3: 13 columns, expected 12\n$/,
      ],
    ];
    const ended = await Promise.all(cases.map(([directory]) => report(directory)));
    for (const [i, { code, stdout, stderr }] of ended.entries()) {
      assert.match(stderr, cases[i]![1]);
      assert.equal(code, 1);
      assert.equal(stdout, "");
    }
    const good = makeLogs(`${root}/good`, { [REQUEST_LOG]: text });
    const [unwritable, missing] = await Promise.all([
      report(good, "-o", `${root}/none/report.html`),
      report(),
    ]);
    assert.match(unwritable.stderr, /^error: cannot write .*\/none\/report\.html: /);
    assert.equal(unwritable.code, 1);
    assert.match(missing.stderr, /error: missing required argument 'LOGDIR'/);
    assert.equal(missing.code, 2);
  });
});

Deno.test("report on logs of nothing, or on one log only, is a report", async () => {
  await inDirectory(async (root, report) => {
    const [empty, one] = await Promise.all([
      report(makeLogs(`${root}/empty`, { [REQUEST_LOG]: requestLog([]), [ACTION_LOG]: "" })),
      report(makeLogs(`${root}/one`, { [REQUEST_LOG]: requestLog(requests) })),
    ]);
    assert.equal(empty.code, 0);
    assert.match(empty.stdout, /^Requests +0 /m);
    assert.match(empty.stdout, /^Note: no request was logged\.\nNote: no action was logged\.\n/m);
    assert.equal(one.code, 0);
    assert.match(one.stdout, /^Requests +900 /m);
    assert.match(one.stdout, /^Note: there is no log of actions\.\n/m);
  });
});
