/** The controller's command line, as a user meets it. */
import assert from "node:assert/strict";
import { freePort } from "./demo/processes.ts";
import { HOST, Processes } from "./testing.ts";

Deno.test("a controller's command line that cannot be right ends with 2, and says what is wrong", async () => {
  await using processes = new Processes();
  const infer4 = ["INFER4", "volta01:12345"];
  const cases: [args: string[], message: string][] = [
    [[], "error: missing required argument 'TYPE'"],
    [["INFER9", "volta01"], 'error: unknown scheduler "INFER9": the schedulers are INFER4'],
    [["INFER4", "a:b:c"], 'error: "a:b:c" is not an address: expected HOST:PORT'],
    [["INFER4", "a,b:1,a:12345"], "error: worker a:12345 is named twice"],
    [[...infer4, "2"], 'error: generate_inputs: Expected a whole number from 0 to 1. Got "2".'],
    [[...infer4, "0", "9", "0"], "error: schedule_ahead: Expected a whole number from 1 to"],
    [[...infer4, ..."0 9 9 9 9 9 9".split(" ")], "error: at most 6 values may follow WORKERS"],
    [[...infer4, "--max-batch", "0"], "'--max-batch <n>' argument '0' is invalid"],
    [[...infer4, "--max-exec", "-1"], "'--max-exec <ns>' argument '-1' is invalid"],
    [[...infer4, "--fast"], "error: unknown option '--fast'"],
  ];
  const ended = cases.map(([args]) => processes.start(["controller", ...args]).ended);
  for (const [i, { code, stdout, stderr }] of (await Promise.all(ended)).entries()) {
    const [args, message] = cases[i]!;
    assert.equal(code, 2, args.join(" "));
    assert.ok(stderr.includes(message), `${args.join(" ")}: ${stderr}`);
    assert.equal(stdout, "");
  }
});

Deno.test("a controller that cannot start ends with 1, and says why", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const [ours, theirs, nobody] = [freePort(), freePort(), freePort()];
    const controller = (port: number, env: Record<string, string> = {}) =>
      processes.start(
        ["controller", "INFER4", `${HOST}:${nobody}`, "--host", HOST, "-p", `${port}`],
        env,
      ).ended;
    await Deno.writeTextFile(`${directory}/file`, "");
    using taken = Deno.listen({ hostname: HOST, port: theirs });
    const [refused, inUse, unwritable] = await Promise.all([
      controller(ours),
      controller(theirs, { CLOCKWORK_LOG_DIR: directory }),
      controller(freePort(), { CLOCKWORK_LOG_DIR: `${directory}/file/logs` }),
    ]);
    // By itself: it has the logs of the first.
    const notWorker = await speakOnce(processes);
    taken.close();
    assert.equal(refused.code, 1);
    assert.equal(
      refused.stderr,
      `error: ${HOST}:${nobody} refused the connection: nothing listens there; ` +
        "start the worker first\n",
    );
    assert.ok(refused.stdout.includes(`Connecting to worker ${HOST}:${nobody}\n`));

    assert.equal(inUse.code, 1);
    assert.equal(
      inUse.stderr,
      `error: cannot listen on ${HOST}:${theirs}: the port is in use; ` +
        "stop the other program or choose another with -p\n",
    );
    // The port's owner may be a controller that writes its logs there: they are left alone.
    assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name), ["file"]);

    assert.equal(unwritable.code, 1);
    assert.match(
      unwritable.stderr,
      /^error: cannot write the log .*\/file\/logs\/clockwork_request_log\.tsv: .*; set CLOCKWORK_LOG_DIR to a directory that can be written\n$/,
    );
    assert.ok(!unwritable.stdout.includes("listening"), unwritable.stdout);

    assert.equal(notWorker.code, 1);
    assert.match(
      notWorker.stderr,
      /did not take the connection: protocol error: .* on the right port\?\n$/,
    );
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

/** A controller whose worker turns out to be something else. */
async function speakOnce(processes: Processes) {
  using server = Deno.listen({ hostname: HOST, port: 0 });
  const process = processes.start([
    ...["controller", "INFER4", `${HOST}:${server.addr.port}`],
    ...["--host", HOST, "-p", `${freePort()}`],
  ]);
  using conn = await server.accept();
  await conn.write(
    new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
  );
  return await process.ended;
}

Deno.test("without CLOCKWORK_LOG_DIR there are no logs, unless there is the default's directory", async () => {
  const [local] = await Promise.allSettled([Deno.stat("/local")]);
  // What is there is not ours to overwrite.
  if (local.status === "fulfilled") return;
  await using processes = new Processes();
  const args = ["controller", "INFER4", `${HOST}:${freePort()}`, "-p", `${freePort()}`];
  const { stdout } = await processes.start(args, { CLOCKWORK_LOG_DIR: "" }).ended;
  const said = "Not logging requests and actions: set CLOCKWORK_LOG_DIR to a directory for them\n";
  assert.ok(stdout.startsWith("Starting Clockwork Controller\n" + said), stdout);
});

Deno.test("a controller that waits for its worker's hello ends on SIGTERM", async () => {
  await using processes = new Processes();
  using silent = Deno.listen({ hostname: HOST, port: 0 });
  const address = `${HOST}:${silent.addr.port}`;
  const args = ["controller", "INFER4", address, "--host", HOST, "-p", `${freePort()}`];
  const process = processes.start([...args, "1", "3", "5000000", "90000000", "200000000", "4"]);
  await process.printed(`Connecting to worker ${address}\n`);
  process.signal("SIGTERM");
  const { code, stdout, stderr } = await process.ended;
  assert.equal(code, 0, stderr);
  // Plain values are the options' values, in their order.
  assert.ok(
    stdout.includes(
      "ConcurrentInferAndLoadScheduler using:\n" +
        "         default_slo=90000000\n" +
        "         latest_delta=10000000\n" +
        "         schedule_ahead=5000000\n" +
        "         max_allowable_exec_time=200000000\n" +
        "         max_batch_size=4\n" +
        "         generate_inputs=1\n" +
        "         max_gpus=3\n",
    ),
    stdout,
  );
});
