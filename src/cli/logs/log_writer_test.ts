import assert from "node:assert/strict";
import { logFiles } from "./log_file.ts";
import { LogWriter } from "./log_writer.ts";

/** Runs `test` with a directory of its own. */
function inDirectory(test: (directory: string) => void | Promise<void>): () => Promise<void> {
  return async () => {
    const directory = Deno.makeTempDirSync();
    try {
      await test(directory);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  };
}

/** A thread's module. */
const entry = (source: string) =>
  new URL(`data:application/javascript,${encodeURIComponent(source)}`);

/** A thread whose disk takes as many messages as the file beside the log says, and then stalls. */
const STALLING = entry(`
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  let done, path, count = 0;
  self.onmessage = ({ data }) => {
    if (data.done !== undefined) return done = new Int32Array(data.done);
    path ??= data.path;
    while (Number(Deno.readTextFileSync(path + ".takes")) <= count) Atomics.wait(nothing, 0, 0, 5);
    count++;
    Atomics.add(done, 0, 1);
    Atomics.notify(done, 0);
    Deno.writeTextFileSync(path + ".took", String(count));
  };`);

/** Lets that disk take so many in all, and resolves when it has. */
async function take(path: string, count: number): Promise<void> {
  Deno.writeTextFileSync(`${path}.takes`, String(count));
  while (count > 0 && Number(await Deno.readTextFile(`${path}.took`).catch(() => 0)) < count) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

Deno.test(
  "when logs of a thread are closed, all of them is on the disk, in order",
  inDirectory((directory) => {
    const writer = new LogWriter();
    const [a, b] = ["a", "b"].map((name) => writer.open(`${directory}/${name}`, 2));
    for (let i = 0; i < 500; i++) {
      a!.write(`${i}\n`);
      b!.write(`${-i}\n`);
      if (i === 249) a!.rotate("");
    }
    a!.close();
    b!.close();
    writer.close();
    const numbers = (name: string) =>
      logFiles(directory, name).map((path) => Deno.readTextFileSync(path).trimEnd().split("\n"));
    const from = (first: number, end: number) =>
      Array.from({ length: end - first }, (_, i) => `${first + i}`);
    assert.deepEqual(numbers("a"), [from(0, 250), from(250, 500)]);
    assert.deepEqual(numbers("b"), [from(0, 500).map((text) => `${-Number(text)}`)]);
    // Closed once more, and written to, as by a last event of the process.
    writer.close();
    a!.write("late\n");
  }),
);

Deno.test(
  "a file that is begun while the disk is behind has its header",
  inDirectory((directory) => {
    const said: string[] = [];
    const writer = new LogWriter({ maxWaiting: 0, report: (line) => said.push(line) });
    const log = writer.open(`${directory}/a`, 2);
    log.write("row\n");
    log.rotate("header\n");
    log.write("row\n");
    log.close();
    writer.close();
    assert.equal(Deno.readTextFileSync(`${directory}/a`), "header\n");
    assert.equal(said.length, 1);
    assert.match(said[0]!, /a: the disk does not keep up, and rows are left out until it does/);
  }),
);

Deno.test(
  "what the disk has no time for is left out, and said when it begins and when it ends",
  inDirectory(async (directory) => {
    const path = `${directory}/a`;
    await take(path, 0);
    const said: string[] = [];
    const report = (line: string) => said.push(line);
    const writer = new LogWriter({ maxWaiting: 4, closeMs: 100, entry: STALLING, report });
    const log = writer.open(path, 1);
    for (let i = 0; i < 3; i++) log.write("waits\n");
    assert.deepEqual(said, []);
    for (let i = 0; i < 100; i++) log.write("too much\n");
    // There is room for one, but a disk that is just too slow must not be told of again and again.
    await take(path, 1);
    log.write("too much\n");
    assert.deepEqual(said, [
      `${path}: the disk does not keep up, and rows are left out until it does`,
    ]);
    await take(path, 3);
    log.write("waits\n");
    assert.deepEqual(said.slice(1), [
      `${path}: the disk keeps up again; 909 B of rows were left out`,
    ]);
    log.write("waits\n");
    // With the first, six in all: nothing more is left out.
    await take(path, 6);
    log.write("nobody takes it\n");
    writer.close();
    assert.deepEqual(said.slice(2), [
      "the last rows of the logs are lost: the disk has not taken them in time",
    ]);
  }),
);

Deno.test(
  "a thread that has written all just when that is asked is not waited for",
  inDirectory((directory) => {
    // A wait for nothing would take all of this.
    const closeMs = 60_000;
    const writer = new LogWriter({ closeMs });
    const log = writer.open(`${directory}/a`, 1);
    log.write("row\n");
    const { now } = performance;
    const beginMs = performance.now();
    let looked = 0;
    try {
      // It ends its work between the look at what is left and the wait for it.
      performance.now = () => {
        const ms = now.call(performance);
        if (looked++ === 1) {
          while (Deno.statSync(`${directory}/a`).size === 0);
          while (now.call(performance) < ms + 20);
        }
        return ms;
      };
      writer.close();
    } finally {
      performance.now = now;
    }
    assert.ok(looked >= 2);
    assert.ok(performance.now() - beginMs < closeMs / 2);
  }),
);

Deno.test(
  "a thread that dies ends the logs, and nothing else",
  inDirectory(async (directory) => {
    const said: string[] = [];
    const died = Promise.withResolvers<void>();
    const report = (line: string) => {
      said.push(line);
      died.resolve();
    };
    const dying = entry(`self.onmessage = () => { throw new Error("out of luck"); };`);
    const writer = new LogWriter({ maxWaiting: 10, closeMs: 10, entry: dying, report });
    const log = writer.open(`${directory}/a`, 1);
    await died.promise;
    for (let i = 0; i < 20; i++) log.write("row\n");
    log.close();
    writer.close();
    assert.equal(said.length, 1);
    assert.match(said[0]!, /^the logs end here: their thread has died: .*out of luck$/);
  }),
);

Deno.test(
  "a log that cannot be written is told at once",
  inDirectory((directory) => {
    const writer = new LogWriter();
    assert.throws(() => writer.open(`${directory}/none/a`, 2, "try another"), {
      name: "CliError",
      message: /none\/a: .*; try another$/,
    });
    writer.close();
  }),
);

for (
  const [what, failure] of [
    ["an error that nobody catches", `setTimeout(() => { throw new Error("unexpected"); }, 0)`],
    ["a promise that is rejected", `Promise.reject(new Error("unexpected"))`],
    ["an exit at once", `Deno.exit(1)`],
  ] as const
) {
  Deno.test(
    `${what} leaves a log that is whole`,
    inDirectory(async (directory) => {
      const module = (name: string) => JSON.stringify(new URL(name, import.meta.url).href);
      const path = JSON.stringify(`${directory}/a`);
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          "eval",
          `import { closeAtExit } from ${module("./log_file.ts")};
          import { LogWriter } from ${module("./log_writer.ts")};
          const writer = new LogWriter();
          const log = writer.open(${path}, 1);
          closeAtExit(() => { log.close(); writer.close(); });
          for (let i = 0; i < 300; i++) log.write("row".repeat(1000) + "\\n");
          ${failure};`,
        ],
      }).output();
      assert.equal(code, 1, new TextDecoder().decode(stderr));
      assert.equal(
        Deno.readTextFileSync(`${directory}/a`),
        ("row".repeat(1000) + "\n").repeat(300),
      );
    }),
  );
}
