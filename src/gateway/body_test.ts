/** Bodies that are too large, too slow, compressed, or too many. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { describedModel, GatewayRig, type RigOptions } from "./testing.ts";

const KIB = 1024;

async function rigOf(options: RigOptions = {}): Promise<GatewayRig> {
  const rig = new GatewayRig(options);
  rig.controller.models = [describedModel(
    0,
    "m",
    [{ name: "x", datatype: "UINT8", shape: [-1, 1000] }],
    [{ name: "y", datatype: "UINT8", shape: [-1, 1000] }],
  )];
  return await rig.start();
}

const PATH = "/v2/models/m/infer";
const RAW = {
  "content-type": "application/octet-stream",
  "inference-header-content-length": "0",
};

function stream(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
  return ReadableStream.from(pieces);
}

async function compressed(bytes: Uint8Array<ArrayBuffer>, encoding: CompressionFormat) {
  const body = new Blob([bytes]).stream().pipeThrough(new CompressionStream(encoding));
  return new Uint8Array(await new Response(body).arrayBuffer());
}

Deno.test("too large, by what it says or by what comes", async () => {
  const rig = await rigOf({ limits: { maxBodyBytes: 10 * KIB } });
  const declared = rig.ask(PATH, { method: "POST", body: new Uint8Array(11 * KIB), headers: RAW });
  assert.match(await rig.failure(declared), /^413 the body has more than 10240 bytes/);
  // Not 429: no later time suits it.
  const vast = { ...RAW, "content-length": String(2 ** 40) };
  const beyond = rig.ask(PATH, { method: "POST", body: new Uint8Array(10), headers: vast });
  assert.match(await rig.failure(beyond), /^413 /);
  let sent = 0;
  const endless = function* () {
    while (true) {
      sent += KIB;
      yield new Uint8Array(KIB);
    }
  };
  const flood = rig.ask(PATH, { method: "POST", body: stream(endless()), headers: RAW });
  assert.match(await rig.failure(flood), /^413 /);
  assert.ok(sent > 11 * KIB && sent < 60 * KIB, `some is read, so that clients see why: ${sent}`);
  const fits = rig.ask(PATH, { method: "POST", body: new Uint8Array(10_000), headers: RAW });
  assert.equal((await fits).status, 200);
});

Deno.test("a body that does not come in time", async () => {
  const rig = await rigOf({ limits: { bodyTimeoutNs: 500 * MS } });
  const never = async function* () {
    yield new Uint8Array(10);
    await new Promise(() => {});
  };
  const startNs = rig.clock.now();
  const slow = rig.ask(PATH, { method: "POST", body: stream(never()), headers: RAW });
  assert.equal(await rig.failure(slow), "408 the body did not come within 0.5 s");
  assert.ok(rig.clock.now() - startNs < SECOND);
  assert.equal(rig.gateway.pending, 0);
});

Deno.test("a body that breaks off", async () => {
  const rig = await rigOf();
  const broken = async function* () {
    yield new Uint8Array(10);
    throw new Error("connection reset");
  };
  const lost = rig.ask(PATH, { method: "POST", body: stream(broken()), headers: RAW });
  assert.match(await rig.failure(lost), /^400 the body cannot be read/);
});

Deno.test("compressed bodies, and those that only look it", async () => {
  const rig = await rigOf({ limits: { maxBodyBytes: 100 * KIB } });
  const post = (body: Uint8Array<ArrayBuffer>, encoding: string) =>
    rig.ask(PATH, { method: "POST", body, headers: { ...RAW, "content-encoding": encoding } });
  for (const encoding of ["gzip", "deflate"] as const) {
    assert.equal(
      (await post(await compressed(new Uint8Array(2000), encoding), encoding)).status,
      200,
    );
    const bomb = await compressed(new Uint8Array(101 * KIB), encoding);
    assert.ok(bomb.length < KIB);
    assert.match(await rig.failure(post(bomb, encoding)), /^413 /);
    assert.match(
      await rig.failure(post(new Uint8Array(100), encoding)),
      /^400 the body cannot be read/,
    );
  }
  const other = await post(new Uint8Array(10), "br");
  assert.equal(other.status, 415);
  assert.equal(other.headers.get("accept-encoding"), "gzip, deflate");
});

Deno.test("other content types", async () => {
  const rig = await rigOf();
  for (const type of ["text/plain", "multipart/form-data"]) {
    const answer = rig.ask(PATH, { method: "POST", body: "{}", headers: { "content-type": type } });
    assert.match(await rig.failure(answer), new RegExp(`^415 the Content-Type is ${type}`));
  }
  const bytes = new TextEncoder().encode("{}");
  const none = rig.ask(PATH, { method: "POST", body: bytes });
  assert.match(await rig.failure(none), /^400 "inputs"/);
  const charset = { "content-type": "application/json; charset=utf-8" };
  assert.match(
    await rig.failure(rig.ask(PATH, { method: "POST", body: "{}", headers: charset })),
    /^400/,
  );
});

Deno.test("bodies of all requests together, and their number", async () => {
  const rig = await rigOf({ limits: { maxBufferedBytes: 5000, maxRequests: 3 } });
  rig.controller.infer = () => null;
  const ask = (requests: number) =>
    rig.gateway.fetch(
      new Request(`http://gateway${PATH}`, {
        method: "POST",
        body: new Uint8Array(1000 * requests),
        headers: { ...RAW, "content-length": String(1000 * requests) },
      }),
    );
  const first = ask(3);
  await rig.pass(10 * MS);
  const second = await rig.until(ask(3));
  assert.equal(second.status, 429);
  assert.equal(second.headers.get("retry-after"), "1");
  assert.match((await second.json()).error, /take 3000 of the 5000 bytes/);
  // One that does not say how much it is counts as it comes.
  const streamed = rig.ask(PATH, {
    method: "POST",
    body: stream([new Uint8Array(1500), new Uint8Array(1500)]),
    headers: RAW,
  });
  assert.match(await rig.failure(streamed), /^429 .* take 4500 of the 5000 bytes/);
  const third = ask(1);
  const fourth = ask(1);
  await rig.pass(10 * MS);
  const fifth = await rig.until(ask(1));
  assert.equal(fifth.status, 429);
  assert.match((await fifth.json()).error, /^3 requests are being served/);
  // Health is told all the same.
  assert.equal((await rig.ask("/v2/health/ready")).status, 200);
  rig.link.cut();
  for (const waiting of [first, third, fourth]) {
    assert.equal((await rig.until(waiting)).status, 503);
  }
  rig.controller.infer = (input) => input;
  await rig.pass(SECOND);
  assert.equal((await rig.until(ask(5))).status, 200, "what was taken has been given back");
});

Deno.test("answers are compressed for those who ask for it, if that is worth it", async () => {
  const rig = await rigOf();
  const ask = (encoding: string, size: number) =>
    rig.ask(PATH, {
      method: "POST",
      body: new Uint8Array(size),
      headers: { ...RAW, "accept-encoding": encoding },
    });
  const plain = new Uint8Array(await (await ask("identity", 1000)).arrayBuffer());
  for (const [accepted, encoding] of [["gzip, br", "gzip"], ["deflate", "deflate"]] as const) {
    const response = await ask(accepted, 1000);
    assert.equal(response.headers.get("content-encoding"), encoding);
    assert.equal(response.headers.get("vary"), "accept-encoding");
    assert.equal(response.headers.get("content-length"), null, "it would be wrong");
    const decompressed = response.body!.pipeThrough(new DecompressionStream(encoding));
    assert.deepEqual(new Uint8Array(await new Response(decompressed).arrayBuffer()), plain);
  }
  for (const accepted of ["br", "gzip;q=0, *", "identity"]) {
    assert.equal((await ask(accepted, 1000)).headers.get("content-encoding"), null);
  }
  const small = await rig.ask("/v2", { headers: { "accept-encoding": "gzip" } });
  assert.equal(small.headers.get("content-encoding"), null);
});

Deno.test("the body of a request that is refused is read all the same, so that the client sees why", async () => {
  const rig = await rigOf({ limits: { maxBodyBytes: 10 * KIB } });
  const ask = async (path: string, headers: Record<string, string> = {}) => {
    let sent = 0;
    const pieces = function* () {
      for (; sent < 20; sent++) yield new Uint8Array(KIB);
    };
    const body = stream(pieces());
    const { status } = await rig.ask(path, {
      method: "POST",
      body,
      headers: { ...RAW, ...headers },
    });
    return [status, sent];
  };
  assert.deepEqual(await ask("/v2/models/nobody/infer"), [404, 20]);
  assert.deepEqual(await ask("/v2"), [405, 20]);
  assert.deepEqual(await ask(PATH, { "content-length": `${20 * KIB}` }), [413, 20]);
  const [status, sent] = await ask("/v2/models/nobody/infer", { expect: "100-continue" });
  assert.equal(status, 404);
  assert.ok(sent! < 3, "what has not been sent yet need not be");
});
