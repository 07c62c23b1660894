/**
 * Measures a link over TCP between two processes on one machine, compared with plain Deno sockets that
 * transfer the same number of bytes.
 *
 *     deno run -A bench/wire_bench.ts [ROUNDS]
 *
 * Rounds of both alternate, so that a busy moment of the machine meets both alike. Where `taskset` is
 * installed, each process has a core of its own: two on one core share its cache and need no
 * interrupt to wake each other, which makes bare sockets look up to six times faster than they are
 * between machines, and different in each run.
 */
import { SystemClock } from "../src/core/system_clock.ts";
import { encodeFrame } from "../src/wire/frame.ts";
import type { Link } from "../src/wire/link.ts";
import type { Header, Kind } from "../src/wire/messages.ts";
import { payloads } from "../src/wire/payload_pool.ts";
import { connect, listen } from "../src/wire/tcp.ts";

/** A 224 × 224 × 3 image of float32, as ResNet takes it. */
const TENSOR_BYTES = 602_112;
const SMALL_PINGS = 2_000;
const LARGE_PINGS = 200;
const FLOOD = 20_000;
/** Unanswered messages that a flood keeps under way. */
const FLOOD_WINDOW = 500;

const REQUEST = { user_id: 1, model_id: 7, batch_size: 1, deadline_ns: 100_000_000, slo_factor: 0 };
/** Asks the server to keep the payload to itself. */
const KEEP = { ...REQUEST, model_id: 8 };
const REQUEST_BYTES = frameBytes("InferRequest", REQUEST);
const RESPONSE_BYTES = frameBytes("InferResponse", { output_size: TENSOR_BYTES });

function frameBytes(kind: Kind, header: object): number {
  return encodeFrame(kind, 12_345, header, 0, 123_456_789_012, -1234).length;
}

/** The child process: answers on two ports, one plain, one with links. */
async function serve(): Promise<void> {
  const clock = new SystemClock();
  const plain = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const links = listen(
    { hostname: "127.0.0.1", port: 0 },
    clock,
    { role: "controller", peerRoles: ["client"] },
    (link) => ({
      onMessage({ id, header, payload }) {
        const keep = (header as Header<"InferRequest">).model_id === KEEP.model_id;
        const pieces = keep || payload.length === 0 ? [] : [payload];
        const done = () => payloads.release(payload);
        link.send("InferResponse", id, { output_size: payload.length }, pieces, done);
      },
      onClose() {},
    }),
  );
  console.log(`${(plain.addr as Deno.NetAddr).port} ${links.address.port}`);
  for await (const conn of plain) echo(conn);
}

/** Answers requests of one size with answers of another; a connection starts with both sizes. */
async function echo(conn: Deno.TcpConn): Promise<void> {
  conn.setNoDelay(true);
  const sizes = new Uint32Array(2);
  await readAll(conn, new Uint8Array(sizes.buffer));
  const message = new Uint8Array(Math.max(...sizes));
  const request = message.subarray(0, sizes[0]), answer = message.subarray(0, sizes[1]);
  while (await readAll(conn, request)) await writeAll(conn, answer);
}

async function readAll(conn: Deno.TcpConn, into: Uint8Array): Promise<boolean> {
  for (let offset = 0; offset < into.length;) {
    const n = await conn.read(offset === 0 ? into : into.subarray(offset));
    if (n === null) return false;
    offset += n;
  }
  return true;
}

async function writeAll(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length;) {
    offset += await conn.write(offset === 0 ? bytes : bytes.subarray(offset));
  }
}

/** This program in a process of its own, on the given core if that can be arranged. */
function onCore(core: number, args: string[], stdout: "piped" | "inherit"): Deno.ChildProcess {
  const deno = [Deno.execPath(), "run", "-A", import.meta.filename!, ...args];
  let pin: string[] = [];
  try {
    const { success } = new Deno.Command("taskset", { args: ["-c", "0,1", "true"] }).outputSync();
    if (success) pin = ["taskset", "-c", String(core)];
  } catch {
    console.log("no taskset here: figures depend on where the processes happen to run");
  }
  const [program, ...rest] = [...pin, ...deno];
  return new Deno.Command(program!, { args: rest, stdout }).spawn();
}

/** The measuring process. */
async function measure(rounds: number): Promise<void> {
  const child = onCore(1, ["serve"], "piped");
  const { value } = await child.stdout.pipeThrough(new TextDecoderStream()).getReader().read();
  const [plainPort, linkPort] = value!.trim().split(" ").map(Number) as [number, number];

  const clock = new SystemClock();
  const plainSmall = await plainPinger(plainPort, REQUEST_BYTES, RESPONSE_BYTES);
  const plainThere = await plainPinger(plainPort, REQUEST_BYTES + TENSOR_BYTES, RESPONSE_BYTES);
  const plainBoth = await plainPinger(
    plainPort,
    REQUEST_BYTES + TENSOR_BYTES,
    RESPONSE_BYTES + TENSOR_BYTES,
  );
  const linkSmall = await LinkPinger.connect(linkPort, clock);
  const linkThere = await LinkPinger.connect(linkPort, clock);
  const linkBoth = await LinkPinger.connect(linkPort, clock);

  const tensor = [new Uint8Array(TENSOR_BYTES)];
  const rows = [
    row("small there and back, µs", SMALL_PINGS, plainSmall, () => linkSmall.ping(REQUEST, [])),
    row(
      "602 kB there, small back, µs",
      LARGE_PINGS,
      plainThere,
      () => linkThere.ping(KEEP, tensor),
    ),
    row("602 kB there and back, µs", LARGE_PINGS, plainBoth, () => linkBoth.ping(REQUEST, tensor)),
  ];
  // The first round warms both up and is not counted.
  for (let round = 0; round <= rounds; round++) {
    for (const { plain, link } of rows) {
      await plain.run(round > 0);
      await link.run(round > 0);
    }
  }
  const floods: number[] = [];
  for (let round = 0; round <= rounds; round++) floods.push(await linkSmall.flood(FLOOD));

  console.log(`${"".padEnd(30)} ${header("plain")} ${header("link")}  link/plain p50`);
  for (const { name, plain, link } of rows) {
    const ratio = link.quantile(0.5) / plain.quantile(0.5);
    console.log(`${name.padEnd(30)} ${plain.show()} ${link.show()}  ${ratio.toFixed(2)}`);
  }
  const best = Math.max(...floods.slice(1));
  console.log(`small requests answered, ${FLOOD_WINDOW} under way: ${Math.round(best)} a second`);
  child.kill();
  clock.close();
  Deno.exit(0);
}

function header(name: string): string {
  return `${`${name} p50`.padStart(10)} ${"p99".padStart(8)}`;
}

function row(
  name: string,
  pings: number,
  plain: () => Promise<void>,
  link: () => Promise<void>,
): { name: string; plain: Series; link: Series } {
  return { name, plain: new Series(plain, pings), link: new Series(link, pings) };
}

/** Times of one kind of ping. */
class Series {
  readonly #times: number[] = [];
  readonly #ping: () => Promise<void>;
  readonly #pings: number;

  constructor(ping: () => Promise<void>, pings: number) {
    this.#ping = ping;
    this.#pings = pings;
  }

  async run(counts: boolean): Promise<void> {
    for (let i = 0; i < this.#pings; i++) {
      const start = performance.now();
      await this.#ping();
      if (counts) this.#times.push((performance.now() - start) * 1000);
    }
  }

  quantile(q: number): number {
    const sorted = this.#times.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
  }

  show(): string {
    return `${this.quantile(0.5).toFixed(0).padStart(10)} ${
      this.quantile(0.99).toFixed(0).padStart(8)
    }`;
  }
}

async function plainPinger(
  port: number,
  requestBytes: number,
  answerBytes: number,
): Promise<() => Promise<void>> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  conn.setNoDelay(true);
  await writeAll(conn, new Uint8Array(Uint32Array.of(requestBytes, answerBytes).buffer));
  const request = new Uint8Array(requestBytes);
  const answer = new Uint8Array(answerBytes);
  return async () => {
    await writeAll(conn, request);
    await readAll(conn, answer);
  };
}

class LinkPinger {
  readonly #link: Link;
  #onAnswer: () => void = () => {};

  private constructor(link: Link) {
    this.#link = link;
  }

  static async connect(port: number, clock: SystemClock): Promise<LinkPinger> {
    let pinger: LinkPinger | undefined;
    await connect(
      { hostname: "127.0.0.1", port },
      clock,
      { role: "client", peerRoles: ["controller"] },
      (link) => {
        const made = pinger = new LinkPinger(link);
        return {
          onMessage({ payload }) {
            payloads.release(payload);
            made.#onAnswer();
          },
          onClose() {},
        };
      },
    );
    return pinger!;
  }

  ping(header: Header<"InferRequest">, payload: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve) => {
      this.#onAnswer = resolve;
      this.#link.send("InferRequest", 12_345, header, payload);
    });
  }

  /** Answers a second while many requests are under way. */
  async flood(messages: number): Promise<number> {
    const start = performance.now();
    let sent = 0, answered = 0;
    const done = Promise.withResolvers<void>();
    const send = () => {
      sent++;
      this.#link.send("InferRequest", sent, REQUEST);
    };
    this.#onAnswer = () => {
      answered++;
      if (sent < messages) send();
      if (answered === messages) done.resolve();
    };
    for (let i = 0; i < FLOOD_WINDOW; i++) send();
    await done.promise;
    return messages / (performance.now() - start) * 1000;
  }
}

const [part = "5", rounds] = Deno.args;
if (part === "serve") await serve();
else if (part === "measure") await measure(Number(rounds));
else await onCore(0, ["measure", part], "inherit").status;
