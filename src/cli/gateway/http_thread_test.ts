import assert from "node:assert/strict";
import { MS } from "../../core/clock.ts";
import { SystemClock } from "../../core/system_clock.ts";
import { CliError } from "../exit.ts";
import type { GatewayConfig } from "./server.ts";
import { DEFAULT_GATEWAY_LIMITS } from "../../gateway/options.ts";
import { HttpThread } from "./http_thread.ts";
import { freePort, HOST } from "../testing.ts";

function configOf(port: number): GatewayConfig {
  return {
    controller: { hostname: HOST, port: 1 },
    credentials: { token: null, tls: null },
    listen: { hostname: HOST, port },
    token: null,
    anyHost: false,
    cors: null,
    limits: DEFAULT_GATEWAY_LIMITS,
    userId: 0,
    drainNs: 100 * MS,
  };
}

/** A thread's module. */
const entry = (source: string) =>
  new URL(`data:application/javascript,${encodeURIComponent(source)}`);

Deno.test("a thread that dies is told of, and another takes its place", async () => {
  const clock = new SystemClock();
  const lines: string[] = [];
  const twice = Promise.withResolvers<void>();
  const log = (line: string) => {
    lines.push(line);
    if (lines.filter((line) => line.startsWith("Serving HTTP")).length === 2) twice.resolve();
  };
  const dying = entry(`
    self.onmessage = ({ data }) => {
      if (data.type === "close") return self.postMessage({ type: "closed" });
      self.postMessage({ type: "serving", address: data.config.listen });
      setTimeout(() => { throw new Error("out of luck"); }, 20);
    };`);
  const thread = await HttpThread.start(clock, log, configOf(8000), dying);
  await twice.promise;
  assert.match(lines[1]!, /^the HTTP thread has died: .*out of luck; another is started in 1 s$/);
  await thread.close();
  clock.close();
});

Deno.test("a real thread serves, and leaves its port when it is closed", async () => {
  const clock = new SystemClock();
  const lines: string[] = [];
  const port = freePort();
  const config = configOf(port);
  const thread = await HttpThread.start(clock, (line) => lines.push(line), config);
  assert.ok(lines.includes(`Serving HTTP at http://${HOST}:${port}/v2`));
  const url = `http://${HOST}:${port}/v2/health/live`;
  const response = await fetch(url);
  assert.deepEqual(await response.json(), { live: true });
  await assert.rejects(
    HttpThread.start(clock, () => {}, config),
    (error) => error instanceof CliError && /the port is in use/.test(error.message),
  );
  await thread.close();
  await assert.rejects(fetch(url));
  clock.close();
});
