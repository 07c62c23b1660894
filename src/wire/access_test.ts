import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { VirtualClock } from "../core/virtual_clock.ts";
import { type Access, isLocal, sameSecret } from "./access.ts";
import { HeaderError } from "./schema.ts";
import { checkHeader, PROTOCOL_VERSION } from "./messages.ts";
import { connect, formatAddress, listen } from "./tcp.ts";

const TOKEN = "correct horse battery staple";

Deno.test("the machine's own addresses are told from others", () => {
  for (const own of ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1", "10.0.0.5"]) {
    assert.ok(isLocal("10.0.0.5", own), own);
  }
  for (
    const other of ["10.0.0.6", "128.0.0.1", "::2", "::ffff:10.0.0.5", "1127.0.0.1", "fe80::1"]
  ) {
    assert.ok(!isLocal("10.0.0.5", other), other);
  }
});

Deno.test("secrets are the same only if all of them is", () => {
  assert.ok(sameSecret(TOKEN, TOKEN));
  for (const other of ["", TOKEN.slice(1), TOKEN + " ", TOKEN.toUpperCase()]) {
    assert.ok(!sameSecret(TOKEN, other), other);
  }
});

/** Tries to connect; what each side said of it. */
async function attempt(access: Access | undefined, token: string | undefined, local: boolean) {
  const refused: string[] = [];
  let served = false;
  const listener = listen(
    { hostname: "127.0.0.1", port: 0 },
    new VirtualClock(),
    {
      role: "worker",
      peerRoles: ["controller"],
      isLocal: () => local,
      onRefused: (_peer, reason) => refused.push(reason),
      ...(access === undefined ? {} : { access }),
    },
    () => {
      served = true;
      return { onMessage: () => {}, onClose: () => {} };
    },
  );
  const { promise, resolve } = Promise.withResolvers<string>();
  connect(
    listener.address,
    new VirtualClock(),
    { role: "controller", peerRoles: ["worker"], ...(token === undefined ? {} : { token }) },
    (link) => {
      resolve("connected");
      link.close("enough");
      return { onMessage: () => {}, onClose: () => {} };
    },
  ).catch((error) => resolve(error.message.replace(formatAddress(listener.address), "PEER")));
  const said = await promise;
  while (!served && refused.length === 0) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  listener.close();
  return { said, served, refused: refused.join() };
}

Deno.test("without a token, only peers on the same machine are served, unless told to be insecure", async () => {
  assert.deepEqual(await attempt(undefined, undefined, true), {
    said: "connected",
    served: true,
    refused: "",
  });
  const far = await attempt(undefined, TOKEN, false);
  assert.equal(far.served, false);
  assert.match(far.said, /^PEER did not take the connection: .*serves its own machine only: set/);
  assert.match(
    far.refused,
    /^this node has neither a token nor TLS, .*or start this one with --insecure$/,
  );
  assert.equal((await attempt({ token: null, insecure: true }, undefined, false)).served, true);
});

Deno.test("with a token, whoever has it is served, and nobody else, from wherever it comes", async () => {
  for (const local of [true, false]) {
    const access = { token: TOKEN, insecure: !local };
    assert.equal((await attempt(access, TOKEN, local)).served, true);
    const none = await attempt(access, undefined, local);
    assert.equal(none.served, false);
    assert.match(none.said, /this node asks for a token: set CLOCKWORK_TOKEN or --token-file$/);
    const wrong = await attempt(access, TOKEN.slice(1), local);
    assert.equal(wrong.served, false);
    assert.match(wrong.said, /the token is not the right one$/);
    assert.match(wrong.refused, /the token is not the right one$/);
    for (const { said, refused } of [none, wrong]) {
      assert.ok(!(said + refused).includes("horse"), "no part of a token is ever told");
    }
  }
});

Deno.test("what is wrong with a token is told without it", () => {
  for (const token of [7, ["horse"], "horse".repeat(1000), { horse: 1 }]) {
    const hello = { version: PROTOCOL_VERSION, role: "client", token };
    assert.throws(() => checkHeader("Hello", hello), (error) => {
      assert.ok(error instanceof HeaderError);
      assert.equal(error.message, "token must be text of at most 1024 characters");
      return true;
    });
  }
  checkHeader("Hello", { version: PROTOCOL_VERSION, role: "client" });
});
