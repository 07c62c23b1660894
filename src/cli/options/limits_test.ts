import assert from "node:assert/strict";
import { Command } from "commander";
import { SECOND } from "../../core/clock.ts";
import { DEFAULT_FRAME_LIMITS } from "../../wire/frame.ts";
import { addClientLimitOptions, type ClientLimitOptions, clientLimitsOf } from "./limits.ts";

function limits(...args: string[]) {
  const command = addClientLimitOptions(new Command());
  command.parse(args, { from: "user" });
  return clientLimitsOf(command.opts<ClientLimitOptions>());
}

Deno.test("clients' payloads are limited, and not those of workers that join", () => {
  const { limitsOf } = limits("--max-payload", "3");
  assert.equal(limitsOf!("client").maxPayloadBytes, 3 * 2 ** 20);
  assert.equal(limitsOf!("worker").maxPayloadBytes, DEFAULT_FRAME_LIMITS.maxPayloadBytes);
});

Deno.test("limits on connections have the units that the help says", () => {
  const given = limits(
    ...["--max-connections", "7", "--max-unread", "5", "--idle-timeout", "2m"],
    ...["--hello-timeout", "500ms", "--message-timeout", "3s"],
  );
  assert.equal(given.maxConnections, 7);
  assert.equal(given.maxConnectionsPerAddress, 7, "all may be from one address");
  assert.equal(given.maxQueuedBytes, 5 * 2 ** 20);
  assert.equal(given.idleNs, 120 * SECOND);
  assert.equal(given.helloNs, SECOND / 2);
  assert.equal(given.messageNs, 3 * SECOND);
  assert.equal(limits().idleNs, undefined);
});
