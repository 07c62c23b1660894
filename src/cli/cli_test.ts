/** The program as a user meets it: child processes, what they print, and their exit codes. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { SystemClock } from "../core/system_clock.ts";
import type { Link } from "../wire/link.ts";
import type { AnyMessage } from "../wire/messages.ts";
import { listen } from "../wire/tcp.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function spawn(args: readonly string[], env: Record<string, string> = {}): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-net", "--allow-read", "--allow-env", MAIN, ...args],
    env: { NO_COLOR: "1", CLOCKWORK_MODEL_DIR: "", CLOCKWORK_DISABLE_INPUTS: "", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function ended(child: Deno.ChildProcess): Promise<Ended> {
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

function clockwork(...args: string[]): Promise<Ended> {
  return ended(spawn(args));
}

/** A controller on a free port that answers as `script` says. */
function scriptedController(script: (message: AnyMessage, link: Link) => void) {
  const clock = new SystemClock();
  const links: Link[] = [];
  const closed: string[] = [];
  const address = { hostname: "127.0.0.1", port: 0 };
  const listener = listen(address, clock, { role: "controller", peerRoles: ["client"] }, (link) => {
    links.push(link);
    return {
      onMessage: (message) => script(message, link),
      onClose: (reason) => closed.push(reason),
    };
  });
  return {
    address: `127.0.0.1:${listener.address.port}`,
    links,
    closed,
    [Symbol.dispose]: () => {
      listener.close();
      clock.close();
    },
  };
}

const facts = { input_size: 8, output_size: 4 };

/** Loads at once, is initializing for one ls, and answers each inference right away. */
function serve(): (message: AnyMessage, link: Link) => void {
  let ready = false;
  return ({ kind, id, header }, link) => {
    if (kind === "LoadModelRequest") {
      link.send("LoadModelResponse", id, {
        model_id: 0,
        copies_created: header.no_of_copies,
        ...facts,
      });
    } else if (kind === "LsRequest" && !ready) {
      ready = true;
      const message = "Controller initializing";
      link.send("ErrorResponse", id, { request_type: 2, status: 5, message });
    } else if (kind === "LsRequest") {
      link.send("LsResponse", id, { models: [] });
    } else if (kind === "InferRequest") {
      link.send("InferResponse", id, { output_size: 4 }, [new Uint8Array(4)]);
    }
  };
}

Deno.test("help and version are answered with 0, on stdout", async () => {
  const [help, version, client] = await Promise.all([
    clockwork("-h"),
    clockwork("--version"),
    clockwork("client", "-h"),
  ]);
  assert.deepEqual([help.code, version.code, client.code], [0, 0, 0]);
  for (const name of ["worker", "worker-dummy", "controller", "client", "check-model"]) {
    assert.match(help.stdout, new RegExp(`^  ${name} `, "m"));
  }
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
  assert.match(client.stdout, /Workloads:\n {2}simple \[model=resnet50_v2\]/);
});

Deno.test("what cannot be right is answered with 2 and names what was wrong", async () => {
  const wrong: [string[], RegExp][] = [
    [["clinet"], /unknown command 'clinet'[^]*client/],
    [["--foo"], /unknown option '--foo'/],
    [["client", "127.0.0.1"], /missing required argument 'workload'/],
    [["models", "ls"], /missing required argument 'address'\n\(clockwork models ls -h shows/],
    [["client", "a:b:c", "simple"], /"a:b:c" is not an address/],
    [["client", "127.0.0.1", "simpel"], /unknown workload `simpel`; did you mean `simple`/],
    [["client", "127.0.0.1", "simple", "resnet50v2"], /no model `resnet50v2`.*`resnet50_v2`/],
    [["client", "127.0.0.1", "simple", "resnet50_v2", "9"], /`simple`: unexpected parameter "9"/],
    [["client", "127.0.0.1", "simple", "--duration", "soon"], /'--duration <time>'.*'soon'/],
  ];
  for (const [args, message] of wrong) {
    const { code, stderr, stdout } = await clockwork(...args);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, message);
    assert.equal(stdout, "");
  }
});

Deno.test("nobody listening is answered with 1 after --wait", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = `127.0.0.1:${listener.addr.port}`;
  listener.close();
  const { code, stderr } = await clockwork("client", address, "simple", "--wait", "1ms");
  assert.equal(code, 1);
  assert.match(stderr, /error: .* refused the connection: nothing listens there/);
});

Deno.test("the client's session prints the original's lines and ends with 0", async () => {
  using controller = scriptedController(serve());
  const args = ["client", controller.address, "simple", "--duration", "300ms"];
  const { code, stdout } = await clockwork(...args);
  assert.equal(code, 0);
  const lines = stdout.trimEnd().split("\n");
  assert.equal(lines[0], `Running workload \`simple\` on ${controller.address}`);
  assert.equal(
    lines[1],
    "Client is sending inputs with requests.  Set CLOCKWORK_DISABLE_INPUTS=1 to disable inputs.",
  );
  assert.equal(lines[2], `Connecting to clockwork @ ${controller.address}`);
  assert.equal(lines[3], "Connection established");
  assert.match(lines[4]!, /^Found \d+ models in .*modelzoo$/);
  assert.equal(lines[5], "Clockwork initializing, retrying Controller initializing");
  assert.match(lines[6]!, /^throughput=\d+\.\d\d min=\d+\.\d\d max=\d+\.\d\d mean=\d+\.\d\d$/);
  assert.match(lines[7]!, /^requests=\d+ success=100\.00% p50=.* p99=.* max=.* goodput=/);
  assert.equal(lines.length, 8);
  assert.deepEqual(controller.closed, ["the peer closed: client is done"]);
});

Deno.test("Ctrl-C ends the client with its last line, its summary and 0", async () => {
  const script = serve();
  const served = Promise.withResolvers<void>();
  let inferences = 0;
  using controller = scriptedController((message, link) => {
    script(message, link);
    if (message.kind === "InferRequest" && ++inferences === 20) served.resolve();
  });
  const child = spawn(["client", controller.address, "simple", "--json"]);
  await served.promise;
  child.kill("SIGINT");
  const { code, stdout, stderr } = await ended(child);
  assert.equal(code, 0, stderr);
  const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.equal(lines.at(-1).type, "summary");
  assert.ok(lines.at(-1).succeeded >= 20);
  assert.match(stderr, /^Running workload/);
});

Deno.test("CLOCKWORK_DISABLE_INPUTS=1 sends no payload; a controller that goes away is told of", async () => {
  const script = serve();
  const sizes = new Set<number>();
  let inferences = 0;
  using controller = scriptedController((message, link) => {
    script(message, link);
    if (message.kind !== "InferRequest") return;
    sizes.add(message.payload.length);
    if (++inferences === 20) link.close("maintenance");
  });
  const { code, stdout, stderr } = await ended(
    spawn(["client", controller.address, "simple", "--no-reconnect"], {
      CLOCKWORK_DISABLE_INPUTS: "1",
    }),
  );
  assert.equal(code, 1);
  assert.deepEqual(sizes, new Set([0]));
  assert.match(stdout, /^Client is not sending inputs/m);
  assert.match(stdout, /^requests=\d+ success=\d+/m);
  assert.match(stderr, /error: the controller is gone: the peer closed: maintenance/);
});

Deno.test("a model that cannot be loaded, and requests that all fail, end with 1", async () => {
  using refusing = scriptedController(({ id }, link) => {
    const message = "no such model: /nowhere/model";
    link.send("ErrorResponse", id, { request_type: 3, status: 1, message });
  });
  const loading = await clockwork("client", refusing.address, "simple", "/nowhere/model");
  assert.equal(loading.code, 1);
  assert.match(loading.stderr, /cannot load \/nowhere\/model: no such model: \/nowhere\/model/);

  const script = serve();
  using failing = scriptedController((message, link) => {
    if (message.kind !== "InferRequest") return script(message, link);
    link.send("ErrorResponse", message.id, { request_type: 0, status: 7, message: "too slow" });
  });
  const failed = await clockwork("client", failing.address, "simple", "--duration", "200ms");
  assert.equal(failed.code, 1);
  assert.match(failed.stdout, /^failed \d+ × skipped \(7\): too slow$/m);
  assert.match(failed.stderr, /error: no request succeeded/);
});

Deno.test("who has read enough of the help is no error", async () => {
  const child = spawn(["client", "-h"]);
  await child.stdout.cancel();
  const stderr = await child.stderr.text();
  assert.deepEqual([(await child.status).code, stderr], [0, ""]);
});
