import assert from "node:assert/strict";
import { MS } from "../../core/clock.ts";
import { SystemClock } from "../../core/system_clock.ts";
import { VirtualClock } from "../../core/virtual_clock.ts";
import { CliError } from "../exit.ts";
import type { GatewayConfig } from "./server.ts";
import { DEFAULT_GATEWAY_LIMITS } from "../../gateway/options.ts";
import { HttpThread } from "./http_thread.ts";
import { freePort } from "../demo/processes.ts";
import { HOST } from "../testing.ts";

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

Deno.test("a thread that dies before it serves is told to whoever starts it, and not started anew", async () => {
  const lines: string[] = [];
  const clock = new VirtualClock();
  const dying = entry(`self.onmessage = () => { throw new Error("out of luck"); };`);
  await assert.rejects(
    HttpThread.start(clock, (line) => lines.push(line), configOf(8000), dying),
    (error) =>
      error instanceof CliError && /^the HTTP thread has died: .*out of luck$/.test(error.message),
  );
  assert.deepEqual(lines, []);
  assert.equal(clock.pending, 0, "another is about to be started");
});

for (
  const [what, onTaken] of [
    ["cannot serve", `self.postMessage({ type: "failed", message: "taken" })`],
    ["dies at once", `throw error`],
  ] as const
) {
  Deno.test(`a thread that ${what} in its predecessor's place is followed by another`, async () => {
    const clock = new SystemClock();
    const port = freePort();
    const said: string[] = [];
    const twice = Promise.withResolvers<void>();
    let other: Deno.Listener | null = null;
    const log = (line: string) => {
      said.push(line.replace(/[:;].*/, ""));
      if (said.length === 2) other = Deno.listen({ hostname: HOST, port });
      if (said.length === 3) other!.close();
      if (line.startsWith("Serving HTTP") && said.length > 1) twice.resolve();
    };
    const listening = entry(`
      self.onmessage = ({ data }) => {
        if (data.type === "close") return self.postMessage({ type: "closed" });
        try {
          const listener = Deno.listen(data.config.listen);
          self.postMessage({ type: "serving", address: data.config.listen });
          setTimeout(() => { listener.close(); throw new Error("out of luck"); }, 20);
        } catch (error) {
          ${onTaken};
        }
      };`);
    const thread = await HttpThread.start(clock, log, configOf(port), listening);
    await twice.promise;
    await thread.close();
    clock.close();
    const died = "the HTTP thread has died";
    const failed = what === "dies at once" ? died : "taken";
    assert.deepEqual(said.slice(0, 4), [
      "Serving HTTP at http",
      died,
      failed,
      "Serving HTTP at http",
    ]);
  });
}

Deno.test("a thread that dies of being closed is followed by none", async () => {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const dying = entry(`
    self.onmessage = ({ data }) => {
      if (data.type === "close") throw new Error("out of luck");
      self.postMessage({ type: "serving", address: data.config.listen });
    };`);
  const thread = await HttpThread.start(clock, (line) => lines.push(line), configOf(8000), dying);
  await thread.close();
  assert.equal(lines.length, 1);
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
