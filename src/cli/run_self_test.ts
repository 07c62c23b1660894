import assert from "node:assert/strict";
import config from "../../deno.json" with { type: "json" };
import { RUN_SELF } from "./run_self.ts";

Deno.test("processes are given what the task `clockwork` gives, no more and no less", () => {
  const [deno, ...task] = config.tasks.clockwork.command.split(" ");
  assert.equal(deno, "deno");
  assert.deepEqual(RUN_SELF.slice(0, -1), task.slice(0, -1));
  assert.ok(RUN_SELF.at(-1)!.endsWith(task.at(-1)!));
});
