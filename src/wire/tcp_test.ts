/** Real sockets on this machine, in virtual time: nothing here waits for a timer. */
import assert from "node:assert/strict";
import { VirtualClock } from "../core/virtual_clock.ts";
import type { Link } from "./link.ts";
import type { AnyMessage, Header } from "./messages.ts";
import { connect, formatAddress, listen, type Listener, parseAddress } from "./tcp.ts";
import type { ListenOptions } from "./tcp.ts";

const REQUEST: Header<"InferRequest"> = {
  user_id: 1,
  model_id: 2,
  batch_size: 1,
  deadline_ns: 0,
  slo_factor: 0,
};
const ANY_PORT = { hostname: "127.0.0.1", port: 0 };

/** A controller that answers each request with its own payload. */
function echo(options: Partial<ListenOptions> = {}) {
  const refused: string[] = [];
  const ended: string[] = [];
  const links: Link[] = [];
  const listener = listen(
    ANY_PORT,
    new VirtualClock(),
    {
      role: "controller",
      peerRoles: ["client"],
      onRefused: (_peer, reason) => refused.push(reason),
      ...options,
    },
    (link) => {
      links.push(link);
      return {
        onMessage: ({ id, payload }) =>
          link.send("InferResponse", id, { output_size: payload.length }, [payload]),
        onClose: (reason) => ended.push(reason),
      };
    },
  );
  return { listener, refused, ended, links };
}

/** A client whose answers and end can be awaited. */
async function client(listener: Listener, signal?: AbortSignal) {
  const { promise: closed, resolve: onClose } = Promise.withResolvers<string>();
  let onMessage: (message: AnyMessage) => void = () => {};
  let link: Link | undefined;
  await connect(
    listener.address,
    new VirtualClock(),
    { role: "client", peerRoles: ["controller"], ...(signal === undefined ? {} : { signal }) },
    (made) => {
      link = made;
      return { onMessage: (message) => onMessage(message), onClose };
    },
  );
  return {
    link: link!,
    closed,
    ask(id: number, payload: Uint8Array): Promise<AnyMessage> {
      const { promise, resolve } = Promise.withResolvers<AnyMessage>();
      onMessage = resolve;
      link!.send("InferRequest", id, REQUEST, [payload]);
      return promise;
    },
    async close(): Promise<void> {
      link!.close("done");
      await closed;
    },
  };
}

/** Sends bytes that are not ours; resolves when the other side has hung up. */
async function garbage(listener: Listener, bytes: Uint8Array): Promise<void> {
  const conn = await Deno.connect(listener.address);
  await conn.write(bytes);
  const buffer = new Uint8Array(1000);
  while (await conn.read(buffer).catch(() => null) !== null);
  conn.close();
}

Deno.test("addresses", () => {
  assert.deepEqual(parseAddress("gpu7", 12345), { hostname: "gpu7", port: 12345 });
  assert.deepEqual(parseAddress(" 10.0.0.1:80 ", 1), { hostname: "10.0.0.1", port: 80 });
  assert.deepEqual(parseAddress("[::1]:99", 1), { hostname: "::1", port: 99 });
  assert.deepEqual(parseAddress("[::1]", 7), { hostname: "::1", port: 7 });
  for (const port of [1, 65_535]) assert.equal(parseAddress(`a:${port}`, 7).port, port);
  assert.equal(formatAddress({ hostname: "::1", port: 9 }), "[::1]:9");
  assert.equal(formatAddress({ hostname: "a", port: 9 }), "a:9");
  for (const text of ["", "a:b", "a:0", "a:65536", "a:000080", ":80", "::1", "a b", "a:1:2"]) {
    assert.throws(() => parseAddress(text, 12345), {
      name: "RangeError",
      message: `"${text}" is not an address: expected HOST:PORT, e.g. 127.0.0.1:12345`,
    });
  }
});

Deno.test("small and tensor-sized payloads go there and back", async () => {
  const { listener, ended } = echo();
  const peer = await client(listener);
  assert.equal(peer.link.peer, formatAddress(listener.address));
  for (const size of [0, 3, 602_112, 5_000_000]) {
    const payload = Uint8Array.from({ length: size }, (_, i) => i * 7);
    const answer = await peer.ask(size, payload);
    assert.equal(answer.id, size);
    assert.deepEqual(answer.payload, payload);
  }
  assert.equal(listener.connections, 1);
  await peer.close();
  assert.equal(await peer.closed, "done");
  listener.close();
  assert.deepEqual(ended, ["the peer closed: done"]);
  assert.equal(listener.connections, 0);
});

Deno.test("who only looks whether the port is open is not told of as refused", async () => {
  const { listener, refused } = echo();
  (await Deno.connect(listener.address)).close();
  // Accepted after it, and so seen after it.
  await garbage(listener, new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  while (listener.connections > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  listener.close();
  assert.equal(refused.length, 1, refused.join());
  assert.match(refused[0]!, /not a Clockwork frame/);
});

Deno.test("links outlive the listener that they came from", async () => {
  const { listener } = echo();
  const peer = await client(listener);
  listener.close();
  listener.close();
  assert.equal((await peer.ask(1, new Uint8Array(9))).payload.length, 9);
  await peer.close();
});

Deno.test("nothing to connect to, and a port in use, are said in words", async () => {
  const { listener } = echo();
  const where = formatAddress(listener.address);
  assert.throws(
    () =>
      listen(
        listener.address,
        new VirtualClock(),
        { role: "worker", peerRoles: [] },
        () => assert.fail(),
      ),
    {
      message: `cannot listen on ${where}: the port is in use; ` +
        "stop the other program or choose another with -p",
    },
  );
  listener.close();
  // A port that was free a moment ago. The listener above may still be closing.
  const other = Deno.listen(ANY_PORT);
  const address = other.addr as Deno.NetAddr;
  other.close();
  await assert.rejects(client({ address, connections: 0, close() {} }), {
    message: `${formatAddress(address)} refused the connection: nothing listens there`,
  });
});

Deno.test("a peer that we do not talk to makes connect fail with its reason", async () => {
  const { listener } = echo({ role: "worker", peerRoles: ["controller"] });
  await assert.rejects(
    client(listener),
    /did not take the connection: .*this is a worker, which talks to a controller, not to a client/,
  );
  listener.close();
});

Deno.test("garbage and sudden ends disturb nobody else", async () => {
  const { listener, refused } = echo();
  const peer = await client(listener);
  await garbage(listener, new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  await garbage(listener, crypto.getRandomValues(new Uint8Array(10_000)));
  // Magic, then a header of four gigabytes.
  await garbage(listener, Uint8Array.from({ length: 40 }, (_, i) => [0x43, 0x57, 1, 1][i] ?? 255));
  assert.equal((await peer.ask(1, new Uint8Array(100_000))).payload.length, 100_000);
  while (refused.length < 3) await peer.ask(2, new Uint8Array(0));
  assert.equal(refused.filter((reason) => reason.includes("not a Clockwork frame")).length, 2);
  assert.equal(refused.filter((reason) => reason.includes("header of 4294967295 bytes")).length, 1);
  assert.equal(listener.connections, 1);
  await peer.close();
  listener.close();
});

Deno.test("beyond the limit of connections, a peer is told so", async () => {
  const { listener, ended, links } = echo({ maxConnections: 2 });
  const first = await client(listener), second = await client(listener);
  await assert.rejects(client(listener), {
    message: `${formatAddress(listener.address)} did not take the connection: ` +
      "the peer closed: limit of 2 connections",
  });
  assert.equal(links.length, 2);
  await first.close();
  while (ended.length === 0 || listener.connections > 1) await second.ask(1, new Uint8Array(0));
  const third = await client(listener);
  assert.equal((await third.ask(1, new Uint8Array(5))).payload.length, 5);
  await second.close();
  await third.close();
  listener.close();
});

Deno.test("one address may have fewer connections than all", async () => {
  const { listener } = echo({ maxConnections: 3, maxConnectionsPerAddress: 1 });
  const first = await client(listener);
  await assert.rejects(client(listener), /limit of 1 connections from one address/);
  await first.close();
  while (listener.connections > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await (await client(listener)).close();
  listener.close();
});

Deno.test("a peer that is sent too much while it sends still learns why it was closed", async () => {
  // Closing a socket with unread data resets the connection, which would lose the goodbye.
  const { listener } = echo({ limits: { maxHeaderBytes: 1000, maxPayloadBytes: 1000 } });
  const peer = await client(listener);
  for (let id = 0; id < 20; id++) {
    peer.link.send("InferRequest", id, REQUEST, [new Uint8Array(1_000_000)]);
  }
  assert.equal(
    await peer.closed,
    "the peer closed: protocol error: InferRequest: payload of 1000000 bytes, limit 1000",
  );
  listener.close();
});

Deno.test("an attempt to connect to one that does not say Hello can be given up", async () => {
  for (const early of [true, false]) {
    using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const abort = new AbortController();
    const attempt = connect(
      { hostname: "127.0.0.1", port: (silent.addr as Deno.NetAddr).port },
      new VirtualClock(),
      { role: "client", peerRoles: ["controller"], signal: abort.signal },
      () => assert.fail("it never said who it is"),
    );
    const conn = await silent.accept();
    const buffer = new Uint8Array(1000);
    // Before it has said Hello, or while it waits for ours.
    if (!early) await conn.read(buffer);
    abort.abort();
    // Once the other side hangs up, as one that is told Goodbye does.
    while (await conn.read(buffer) !== null);
    conn.close();
    await assert.rejects(attempt, /did not take the connection: the attempt was given up/);
  }
});

Deno.test("a link that has been made stays, whatever becomes of the attempt", async () => {
  const { listener } = echo();
  const abort = new AbortController();
  const peer = await client(listener, abort.signal);
  abort.abort();
  assert.equal((await peer.ask(1, new Uint8Array(5))).payload.length, 5);
  await peer.close();
  listener.close();
});
