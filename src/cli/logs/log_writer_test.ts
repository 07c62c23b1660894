import assert from "node:assert/strict";
import { logFiles } from "./log_file.ts";
import { LogWriter } from "./log_writer.ts";

/** Runs `test` with a directory of its own. */
function inDirectory(test: (directory: string) => void): void {
  const directory = Deno.makeTempDirSync();
  try {
    test(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

Deno.test("when logs of a thread are closed, all of them is on the disk, in order", () => {
  inDirectory((directory) => {
    const writer = new LogWriter();
    const [a, b] = ["a", "b"].map((name) => writer.open(`${directory}/${name}`, 2));
    for (let i = 0; i < 500; i++) {
      a!.write(`${i}\n`);
      b!.write(`${-i}\n`);
      if (i === 249) a!.rotate();
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
  });
});

Deno.test("what the disk has no time for is left out, and said once", () => {
  inDirectory((directory) => {
    const said: string[] = [];
    const writer = new LogWriter(0, (line) => said.push(line));
    const log = writer.open(`${directory}/a`, 1);
    for (let i = 0; i < 100; i++) log.write(`row ${i}\n`);
    log.close();
    writer.close();
    assert.equal(Deno.readTextFileSync(`${directory}/a`), "");
    assert.equal(said.length, 1);
    assert.match(said[0]!, /a: the disk does not keep up, and rows are left out/);
  });
});

Deno.test("a log that cannot be written is told at once", () => {
  inDirectory((directory) => {
    const writer = new LogWriter();
    assert.throws(() => writer.open(`${directory}/none/a`, 2, "try another"), {
      name: "CliError",
      message: /none\/a: .*; try another$/,
    });
    writer.close();
  });
});
