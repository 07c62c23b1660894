/** Links over TLS, on real sockets and in virtual time. */
import assert from "node:assert/strict";
import { SECOND } from "../core/clock.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { encodeFrame } from "./frame.ts";
import type { Link } from "./link.ts";
import { type AnyMessage, PROTOCOL_VERSION } from "./messages.ts";
import { type Address, connect, listen, type Listener } from "./tcp.ts";
import { TestAuthority } from "./testing_tls.ts";
import type { TlsIdentity } from "./tls.ts";

const authority = await TestAuthority.make();
const other = await TestAuthority.make("another authority");
const ours = await authority.identity();
const theirs = await other.identity();

const REQUEST = { user_id: 1, model_id: 2, batch_size: 1, deadline_ns: 0, slo_factor: 0 };

/** A controller that answers each request with its own payload; null: without TLS. */
function echo(tls: TlsIdentity | null, clock = new VirtualClock()) {
  const refused: string[] = [];
  const links: Link[] = [];
  const wait = Promise.withResolvers<void>();
  const listener = listen(
    { hostname: "127.0.0.1", port: 0 },
    clock,
    {
      role: "controller",
      peerRoles: ["client"],
      // Nobody is on this machine: what lets peers in is their certificate.
      ...(tls === null ? {} : { tls, isLocal: () => false }),
      // Time is made to pass faster than peers can say anything.
      silenceNs: 60 * SECOND,
      onRefused: (_peer, reason) => {
        refused.push(reason);
        wait.resolve();
      },
    },
    (link) => {
      links.push(link);
      return {
        onMessage: ({ id, payload }) =>
          link.send("InferResponse", id, { output_size: payload.length }, [payload]),
        onClose() {},
      };
    },
  );
  return { listener, refused, links, clock, onceRefused: wait.promise };
}

/** A client of it, whose answers can be awaited. */
async function client({ address }: Listener, tls: TlsIdentity | null, where?: Partial<Address>) {
  const { promise: closed, resolve: onClose } = Promise.withResolvers<string>();
  let onMessage: (message: AnyMessage) => void = () => {};
  let link: Link | undefined;
  await connect(
    { ...address, ...where },
    new VirtualClock(),
    { role: "client", peerRoles: ["controller"], ...(tls === null ? {} : { tls }) },
    (made) => {
      link = made;
      return { onMessage: (message) => onMessage(message), onClose };
    },
  );
  return {
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

Deno.test("small and tensor-sized payloads go there and back, encrypted", async () => {
  const { listener } = echo(ours);
  for (const where of [{}, { hostname: "localhost" }, { name: "localhost" }]) {
    const peer = await client(listener, await authority.identity({ names: ["gpu7"] }), where);
    for (const size of [0, 3, 602_112, 5_000_000]) {
      const payload = Uint8Array.from({ length: size }, (_, i) => i * 7);
      assert.deepEqual((await peer.ask(size, payload)).payload, payload);
    }
    await peer.close();
    assert.equal(await peer.closed, "done");
  }
  listener.close();
});

Deno.test("a peer whose certificate is not right is refused, and told why", async () => {
  const expired = await authority.identity({ days: [-2, -1] });
  const early = await authority.identity({ days: [1, 2] });
  // They believe the right authority, but are not signed by it.
  const foreign = { ...theirs, ca: authority.ca };
  for (const identity of [expired, early, foreign]) {
    const { listener, onceRefused, refused, links } = echo(ours);
    await assert.rejects(
      client(listener, identity),
      /its certificate, for the time from .* to .*, cannot be verified: it is not signed by this node's authority, or not valid now/,
    );
    await onceRefused;
    assert.match(refused[0]!, /cannot be verified/);
    assert.deepEqual(links, [], "it has never been served");
    listener.close();
  }
});

Deno.test("a peer that leaves without a word, as health checks do, is not reported", async () => {
  const { listener, onceRefused, refused } = echo(ours);
  const open = () => Deno.connect({ hostname: "127.0.0.1", port: listener.address.port });
  const silent = await open();
  await silent.closeWrite();
  assert.equal(await silent.read(new Uint8Array(100)), null, "the node hangs up");
  silent.close();
  // The first that is reported is the next one, which says something wrong.
  const garbage = await open();
  await garbage.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  await onceRefused;
  garbage.close();
  assert.match(refused[0]!, /does not speak TLS/);
  listener.close();
});

Deno.test("a peer without a certificate is refused, whatever token it says", async () => {
  const { listener, onceRefused, refused, links } = echo(ours);
  const conn = await Deno.connectTls({
    hostname: "127.0.0.1",
    port: listener.address.port,
    caCerts: [ours.ca],
  });
  // As much as a client says before it hears anything.
  await conn.write(hello());
  const answer = new Uint8Array(1000);
  const n = await conn.read(answer);
  assert.match(new TextDecoder().decode(answer.subarray(0, n!)), /asks for a certificate/);
  conn.close();
  await onceRefused;
  assert.match(refused[0]!, /this node asks for a certificate/);
  assert.deepEqual(links, []);
  listener.close();
});

Deno.test("a node whose certificate is not right is not connected to", async () => {
  const wrong: [TlsIdentity, RegExp][] = [
    [theirs, /certificate cannot be verified: .*\(SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_/],
    [await authority.identity({ days: [-2, -1] }), /cannot be verified: .* or not valid now/],
    [await authority.identity({ names: ["elsewhere"] }), /127\.0\.0\.1 is not in the cert's list/],
  ];
  for (const [identity, reason] of wrong) {
    const { listener, onceRefused, refused, links } = echo(identity);
    await assert.rejects(client(listener, ours), reason);
    await onceRefused;
    assert.equal(refused.length, 1);
    assert.deepEqual(links, []);
    listener.close();
  }
  const { listener, onceRefused } = echo(ours);
  await assert.rejects(
    client(listener, ours, { name: "elsewhere" }),
    /elsewhere.* is not in the cert's altnames/,
  );
  await onceRefused;
  listener.close();
});

Deno.test("with TLS on one side only, both sides are told so", async () => {
  const secure = echo(ours);
  await assert.rejects(
    client(secure.listener, null),
    /the peer speaks TLS: give certificates to both sides/,
  );
  await secure.onceRefused;
  assert.match(secure.refused[0]!, /the peer does not speak TLS: give certificates to both sides/);
  secure.listener.close();
  const plain = echo(null);
  await assert.rejects(
    client(plain.listener, ours),
    /the peer does not speak TLS: give certificates to both sides/,
  );
  await plain.onceRefused;
  assert.match(plain.refused[0]!, /the peer speaks TLS: give certificates to both sides/);
  plain.listener.close();
});

Deno.test("garbage, half a handshake and silence end their own connection only", async () => {
  const { listener, refused, clock } = echo(ours);
  const peer = await client(listener, ours);
  const open = () => Deno.connect({ hostname: "127.0.0.1", port: listener.address.port });
  const [garbage, half, silent] = [await open(), await open(), await open()];
  await garbage.write(crypto.getRandomValues(new Uint8Array(10_000)).fill(0x47, 0, 1));
  // A record of 512 bytes, of which 6 come.
  await half.write(Uint8Array.of(0x16, 3, 1, 2, 0, 1));
  while (refused.length < 1) await peer.ask(1, new Uint8Array(10));
  assert.equal(listener.connections, 3);
  // The peer that works has sent all that it wanted: only those without Hello wait for this.
  clock.advance(10 * SECOND);
  assert.equal((await peer.ask(2, new Uint8Array(100_000))).payload.length, 100_000);
  clock.advance(1 * SECOND);
  while (refused.length < 3) await peer.ask(3, new Uint8Array(10));
  assert.equal(refused.filter((reason) => reason === "no Hello within 10 s").length, 2);
  assert.equal(listener.connections, 1);
  for (const conn of [garbage, half, silent]) conn.close();
  await peer.close();
  listener.close();
});

Deno.test("a peer that does not read makes writes wait, and nothing gathers", async () => {
  const { listener, links } = echo(ours);
  const conn = await Deno.connectTls({
    hostname: "127.0.0.1",
    port: listener.address.port,
    caCerts: [ours.ca],
    cert: ours.cert,
    key: ours.key,
  });
  await conn.write(hello());
  while (links.length === 0) await conn.read(new Uint8Array(1000));
  const [link] = links;
  const chunk = new Uint8Array(1_000_000);
  for (let i = 0; i < 64; i++) link!.send("InferResponse", i, { output_size: 1_000_000 }, [chunk]);
  await new Promise((resolve) => setTimeout(resolve, 200));
  // What the kernel and the library hold is far less.
  assert.ok(link!.queuedBytes > 32_000_000, `${link!.queuedBytes} bytes wait`);
  let read = 0;
  const into = new Uint8Array(65536);
  while (read < 64_000_000) read += (await conn.read(into))!;
  conn.close();
  listener.close();
});

/** The Hello of a client. */
function hello(): Uint8Array<ArrayBuffer> {
  return encodeFrame(
    "Hello",
    0,
    { version: PROTOCOL_VERSION, role: "client", token: "" },
    0,
    0,
    0,
  ) as Uint8Array<ArrayBuffer>;
}
