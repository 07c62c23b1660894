import assert from "node:assert/strict";
import { basename } from "node:path";
import { actionColumns, requestColumns } from "../../telemetry/records.ts";
import { SECOND } from "../../core/clock.ts";
import { VirtualClock } from "../../core/virtual_clock.ts";
import { headerOf, TsvLog } from "../../telemetry/tsv_log.ts";
import { ACTION_LOG, claimLogs, logFiles, openLog, PREVIOUS, REQUEST_LOG } from "./log_file.ts";

const LOGS = {
  [REQUEST_LOG]: requestColumns(String),
  [ACTION_LOG]: actionColumns(String),
};

/** Runs `test` with a directory of its own. */
function inDirectory(test: (directory: string) => void): () => void {
  return () => {
    const directory = Deno.makeTempDirSync();
    try {
      test(directory);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  };
}

const names = (directory: string) =>
  [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
const read = (directory: string, name: string) => Deno.readTextFileSync(`${directory}/${name}`);

Deno.test(
  "a log that is rotated keeps its latest files, and they are found oldest first",
  inDirectory((directory) => {
    const path = `${directory}/a.tsv`;
    const log = openLog(path, 12);
    for (let i = 0; i < 30; i++) {
      log.write(`file ${i}\n`);
      if (i < 29) log.rotate("");
    }
    log.close();
    const files = logFiles(directory, "a.tsv");
    assert.deepEqual(
      files.map((file) => Deno.readTextFileSync(file)),
      Array.from({ length: 12 }, (_, i) => `file ${18 + i}\n`),
    );
    assert.deepEqual(names(directory).length, 12);
    // By number, not by name: .10 is older than .9.
    assert.deepEqual(files.slice(0, 3).map((file) => basename(file)), [
      "a.tsv.11",
      "a.tsv.10",
      "a.tsv.9",
    ]);
  }),
);

Deno.test(
  "a log of one file begins again when that is full",
  inDirectory((directory) => {
    const log = openLog(`${directory}/a.tsv`, 1);
    log.write("old\n");
    log.rotate("");
    log.write("new\n");
    log.close();
    assert.deepEqual(names(directory), ["a.tsv"]);
    assert.equal(read(directory, "a.tsv"), "new\n");
  }),
);

Deno.test(
  "other files are not taken for a log's",
  inDirectory((directory) => {
    const others = ["a.tsv.gz", "a.tsv.01", "a.tsv.0", "a.tsv.-1", "ba.tsv", "a.tsv.1.bak"];
    for (const name of [...others, "a.tsv", "a.tsv.1"]) {
      Deno.writeTextFileSync(`${directory}/${name}`, "");
    }
    Deno.mkdirSync(`${directory}/a.tsv.2`);
    assert.deepEqual(logFiles(directory, "a.tsv").map((file) => basename(file)), [
      "a.tsv.1",
      "a.tsv",
    ]);
  }),
);

Deno.test(
  "a new controller moves the logs of the last one away, unless they hold nothing",
  inDirectory((root) => {
    const directory = `${root}/made/if/missing`;
    claimLogs(directory, LOGS)();
    const write = (name: string, text: string) =>
      Deno.writeTextFileSync(`${directory}/${name}`, text);
    const headers = headerOf(LOGS[REQUEST_LOG]);
    write(REQUEST_LOG, headers + "3\n");
    write(`${REQUEST_LOG}.1`, headers + "2\n");
    write(`${REQUEST_LOG}.2`, headers + "1\n");
    write(ACTION_LOG, headerOf(LOGS[ACTION_LOG]));
    write("notes.txt", "mine");
    claimLogs(directory, LOGS)();
    assert.deepEqual(names(directory), [`${REQUEST_LOG}.lock`, "notes.txt", PREVIOUS]);
    const previous = `${directory}/${PREVIOUS}`;
    assert.deepEqual(
      logFiles(previous, REQUEST_LOG).map((file) => Deno.readTextFileSync(file).at(-2)),
      ["1", "2", "3"],
    );

    // A controller that did nothing, as when its worker was not there, pushes nothing out.
    write(REQUEST_LOG, headers);
    write(ACTION_LOG, headerOf(LOGS[ACTION_LOG]));
    claimLogs(directory, LOGS)();
    assert.equal(logFiles(previous, REQUEST_LOG).length, 3);
    assert.deepEqual(names(directory), [`${REQUEST_LOG}.lock`, "notes.txt", PREVIOUS]);

    // Only the last is kept: what is on disk stays bounded.
    write(REQUEST_LOG, headers + "4\n");
    claimLogs(directory, LOGS)();
    assert.deepEqual(names(previous), [REQUEST_LOG]);
    assert.equal(read(previous, REQUEST_LOG), headers + "4\n");
  }),
);

Deno.test(
  "logs of a process that runs are left to it",
  inDirectory((directory) => {
    const release = claimLogs(directory, LOGS);
    Deno.writeTextFileSync(`${directory}/${REQUEST_LOG}`, headerOf(LOGS[REQUEST_LOG]) + "1\n");
    assert.throws(() => claimLogs(directory, LOGS), {
      name: "CliError",
      message:
        /request_log\.tsv: another process writes it, and each needs its own directory; set CLOCKWORK_LOG_DIR/,
    });
    assert.equal(logFiles(directory, REQUEST_LOG).length, 1);
    release();
    // As at the end of a process that has closed its logs already.
    release();
    claimLogs(directory, LOGS)();
    assert.equal(logFiles(directory, REQUEST_LOG).length, 0);
  }),
);

Deno.test(
  "a directory that cannot be made is told with what to do",
  inDirectory((root) => {
    Deno.writeTextFileSync(`${root}/file`, "");
    assert.throws(() => claimLogs(`${root}/file/logs`, LOGS), {
      name: "CliError",
      message:
        /^cannot write the log .*\/file\/logs\/clockwork_request_log\.tsv: .*CLOCKWORK_LOG_DIR/,
    });
    assert.throws(() => openLog(`${root}/none/a.tsv`, 2), { name: "CliError" });
  }),
);

Deno.test({
  name: "a log whose file is removed ends, and says so once",
  // There, a file that is open cannot be removed.
  ignore: Deno.build.os === "windows",
  fn: inDirectory((directory) => {
    const said: string[] = [];
    const { error } = console;
    console.error = (line: string) => said.push(line);
    try {
      const path = `${directory}/a.tsv`;
      const log = openLog(path, 2);
      log.write("row\n");
      Deno.removeSync(path);
      log.write("row\n");
      log.rotate("header\n");
      log.write("row\n");
      log.close();
      assert.deepEqual(said, [`${path} ends here: the file has been removed`]);
      assert.deepEqual(names(directory), []);
    } finally {
      console.error = error;
    }
  }),
});

Deno.test(
  "on disk, a log never takes more than its files' limit, and its latest rows are all there",
  inDirectory((directory) => {
    const clock = new VirtualClock();
    const columns = [["number", (n: number) => n]] as const;
    const log = new TsvLog(clock, openLog(`${directory}/a.tsv`, 3), columns, 1000);
    for (let i = 0; i < 5000; i++) {
      log.append(i);
      if (i % 50 === 0) clock.run(clock.now() + SECOND);
    }
    log.close();
    const texts = logFiles(directory, "a.tsv").map((file) => Deno.readTextFileSync(file));
    assert.equal(texts.length, 3);
    assert.ok(texts.every(({ length }) => length <= 1000));
    const rows = texts.flatMap((text) => text.trimEnd().split("\n").slice(1)).map(Number);
    assert.ok(rows.length > 390, `${rows.length}`);
    assert.deepEqual(rows, Array.from(rows, (_, i) => 5000 - rows.length + i));
  }),
);
