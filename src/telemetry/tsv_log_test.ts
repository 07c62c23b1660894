import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { TsvLog } from "./tsv_log.ts";

class Memory {
  readonly writes: string[] = [];
  /** The files' contents, oldest first. */
  readonly files = [""];
  closed = 0;
  write(text: string): void {
    assert.equal(this.closed, 0, "a write after the end");
    this.writes.push(text);
    this.files[this.files.length - 1] += text;
  }
  rotate(header: string): void {
    assert.equal(this.closed, 0, "a new file after the end");
    this.files.push(header);
  }
  close(): void {
    this.closed++;
  }
}

const columns = [
  ["number", (n: number) => n],
  ["name", (n: number) => `n${n}`],
] as const;
const HEADER = "number\tname\n";

Deno.test("rows are written every second, below a header, and the rest on close", () => {
  const clock = new VirtualClock();
  const memory = new Memory();
  const log = new TsvLog(clock, memory, columns);
  log.append(1);
  clock.run(999 * MS);
  assert.deepEqual(memory.writes, [HEADER]);
  clock.run(SECOND);
  assert.deepEqual(memory.writes, [HEADER, "1\tn1\n"]);
  // Nothing is written when there is nothing to write.
  clock.run(5 * SECOND);
  assert.equal(memory.writes.length, 2);
  log.append(2);
  log.append(3);
  log.close();
  assert.equal(memory.writes.join(""), HEADER + "1\tn1\n2\tn2\n3\tn3\n");
  assert.equal(memory.closed, 1);
  clock.run(10 * SECOND);
  assert.equal(clock.pending, 0, "a closed log has no timer");
});

Deno.test("a log of which nothing happened has its header", () => {
  const memory = new Memory();
  new TsvLog(new VirtualClock(), memory, columns).close();
  assert.deepEqual(memory.writes, [HEADER]);
});

Deno.test("many rows in a second do not gather without limit, and none is lost or torn", () => {
  const clock = new VirtualClock();
  const memory = new Memory();
  const log = new TsvLog(clock, memory, columns);
  for (let i = 0; i < 100_000; i++) log.append(i);
  assert.ok(memory.writes.length > 5);
  for (const text of memory.writes) assert.ok(text.length < 100_000 && text.endsWith("\n"));
  log.close();
  const lines = memory.writes.join("").split("\n");
  assert.equal(lines.length, 100_002);
  for (let i = 0; i < 100_000; i++) assert.equal(lines[i + 1], `${i}\tn${i}`);
});

Deno.test("what comes after the end is dropped: the file is closed", () => {
  const memory = new Memory();
  const log = new TsvLog(new VirtualClock(), memory, columns);
  log.close();
  for (let i = 0; i < 20_000; i++) log.append(i);
  log.close();
  assert.equal(memory.writes.length, 1);
  assert.equal(memory.closed, 1);
});

Deno.test("no file outgrows its limit; each has the header and whole rows, and none is lost", () => {
  // Down to where not even the header fits, and up to where the buffer is written several times a file.
  for (const limit of [1, HEADER.length, 20, 21, 1000, 200_000]) {
    const clock = new VirtualClock();
    const memory = new Memory();
    const log = new TsvLog(clock, memory, columns, limit);
    const count = limit > 100_000 ? 50_000 : 300;
    for (let i = 0; i < count; i++) {
      log.append(i);
      // Some of it is on disk, some gathered, when the limit is reached.
      if (i % 7 === 0) clock.run(clock.now() + SECOND);
    }
    log.close();
    const rows = memory.files.flatMap((text) => {
      assert.ok(text.startsWith(HEADER) && text.endsWith("\n"), text.slice(0, 50));
      const lines = text.slice(HEADER.length, -1).split("\n");
      assert.ok(text.length <= limit || lines.length === 1, `${text.length} bytes of ${limit}`);
      assert.ok(!lines.includes(""), "a file without rows");
      return lines;
    });
    assert.deepEqual(rows, Array.from({ length: count }, (_, i) => `${i}\tn${i}`));
    assert.ok(memory.files.length > 1, `${limit} is never reached`);
  }
});
