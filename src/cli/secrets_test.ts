/** That nothing which any role prints, logs or answers has any part of a token. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { freePort } from "./demo/processes.ts";
import { HOST, type Process, Processes } from "./testing.ts";

const TOKEN = "Zq7xVw3kHy5fRt1pW4k9Vb2Ns8Lm6Jd";
const WRONG = "Yp3vBn8sKx2gQc7tJ6h5Zr4wTf9Dm1e";
const HTTP_TOKEN = "Xr8mGz5hWq3nPv6bL1f2Dc0Kt7Yj9Rs";
/** Characters in a row that are none of chance. */
const PART = 6;

/** The parts of secrets that a text has. */
function partsIn(text: string): string[] {
  const found: string[] = [];
  for (const secret of [TOKEN, WRONG, HTTP_TOKEN]) {
    for (let at = 0; at + PART <= secret.length; at++) {
      const part = secret.slice(at, at + PART);
      if (text.toLowerCase().includes(part.toLowerCase())) found.push(part);
    }
  }
  return found;
}

const COMMANDS = [
  "worker",
  "worker-dummy",
  "controller",
  "gateway",
  "client",
  "infer",
  "report",
  "simulate",
  "profile",
  "check-model",
];

Deno.test("the search finds a secret that is told", () => {
  assert.deepEqual(partsIn(`token: ${TOKEN.slice(3, 9).toUpperCase()}!`), [TOKEN.slice(3, 9)]);
  assert.deepEqual(partsIn("the token is not the right one"), []);
});

Deno.test("no role tells a token: not served, refused, asked for help, failing or killed", async () => {
  await using processes = new Processes();
  const logs = await Deno.makeTempDir();
  const all: Process[] = [];
  const start = (args: readonly string[], token: string): Process => {
    const process = processes.start(args, {
      CLOCKWORK_TOKEN: token,
      CLOCKWORK_HTTP_TOKEN: HTTP_TOKEN,
      CLOCKWORK_LOG_DIR: logs,
    });
    all.push(process);
    return process;
  };
  const told: string[] = [];
  try {
    const listen = (port: number) => ["--host", HOST, "-p", `${port}`];
    const [workerPort, port, httpPort, metrics] = Array.from({ length: 4 }, () => freePort()) as [
      number,
      number,
      number,
      number,
    ];
    const worker = start(["worker-dummy", ...listen(workerPort)], TOKEN);
    await worker.printed("listening on");
    const controller = start(
      ["controller", "INFER4", `${HOST}:${workerPort},join`, ...listen(port)]
        .concat("--metrics", `${metrics}`),
      TOKEN,
    );
    await controller.printed("(Startup-3)");
    const gateway = start(["gateway", `${HOST}:${port}`, "--port", `${httpPort}`], TOKEN);
    await gateway.printed(`${httpPort}`);
    const run = ["client", `${HOST}:${port}`, "simple", "--duration", "1s", "--wait", "1ms"];
    const joining = start(["worker-dummy", "--join", `${HOST}:${port}`], WRONG);
    const ending = [
      start(run, TOKEN),
      start(run, WRONG),
      start(["controller", "INFER4", `${HOST}:${workerPort}`, ...listen(freePort())], WRONG),
      // The port is in use.
      start(["worker-dummy", ...listen(workerPort)], TOKEN),
      start(["controller", "INFER4", "no/worker", "--token-file", "/no/such/file"], TOKEN),
      ...COMMANDS.map((command) => start([command, "-h"], TOKEN)),
    ];
    await joining.printed("the token is not the right one");
    const codes = await Promise.all(ending.map(async (process) => (await process.ended).code));
    assert.deepEqual(codes.slice(0, 5), [0, 1, 1, 1, 2]);

    const http = `http://${HOST}:${httpPort}`;
    for (const authorization of [`Bearer ${WRONG}`, `Bearer ${HTTP_TOKEN}`, ""]) {
      for (const path of ["/v2", "/v2/models/nobody", "/metrics", "/", "/openapi.json"]) {
        const response = await fetch(http + path, { headers: { authorization } });
        told.push(JSON.stringify([...response.headers]), await response.text());
      }
    }
    const response = await fetch(`http://${HOST}:${metrics}/metrics`);
    told.push(await response.text());
    worker.signal("SIGQUIT");
    joining.signal("SIGABRT");
    await controller.printed("lost");
    for (const process of [gateway, controller]) process.signal("SIGTERM");
    await Promise.all(all.map(({ ended }) => ended));

    told.push(...all.map(({ stdout, stderr }) => stdout + stderr));
    for (const { name } of Deno.readDirSync(logs)) {
      told.push(await Deno.readTextFile(join(logs, name)));
    }
    assert.deepEqual(partsIn(told.join("\n")), []);
  } finally {
    await Deno.remove(logs, { recursive: true });
  }
});
