import assert from "node:assert/strict";
import type { Access } from "../wire/access.ts";
import { metricsHandler } from "./metrics_server.ts";

const exposition = { contentType: "text/plain", read: () => Promise.resolve("x 1\n") };
const TOKEN = "0123456789abcdef";

Deno.test("other machines may read metrics with the token, or where no token is asked for on purpose", async () => {
  const ask = async (access: Access, remote: string, authorization?: string) => {
    const headers = authorization === undefined ? {} : { authorization };
    const request = new Request("http://localhost/metrics", { headers });
    return (await metricsHandler(access, exposition)(request, remote)).status;
  };
  const open = { token: null, insecure: true };
  const local = { token: null, insecure: false };
  const secret = { token: TOKEN, insecure: false };
  const there = "192.0.2.7";
  for (const remote of ["127.0.0.1", "::1", "::ffff:127.0.0.1"]) {
    for (const access of [open, local, secret]) assert.equal(await ask(access, remote), 200);
  }
  assert.equal(await ask(open, there), 200);
  assert.equal(await ask(local, there), 403);
  assert.equal(await ask(local, there, `Bearer ${TOKEN}`), 403);
  assert.equal(await ask(secret, there), 401);
  assert.equal(await ask(secret, there, `Bearer ${TOKEN}0`), 401);
  assert.equal(await ask(secret, there, `Basic ${TOKEN}`), 401);
  assert.equal(await ask(secret, there, `Bearer ${TOKEN}`), 200);
});

Deno.test("there are metrics at one path, to be read", async () => {
  const handle = metricsHandler({ token: null, insecure: false }, exposition);
  const ask = async (path: string, method: string) =>
    (await handle(new Request(`http://localhost${path}`, { method }), "127.0.0.1")).status;
  assert.equal(await ask("/metrics", "HEAD"), 200);
  assert.equal(await ask("/metrics", "POST"), 405);
  assert.equal(await ask("/", "GET"), 404);
});

Deno.test("those who ask at the same time are given the same text", async () => {
  let reads = 0;
  const counting = {
    contentType: "text/plain",
    read: () => new Promise<string>((resolve) => setTimeout(() => resolve(`x ${++reads}\n`), 1)),
  };
  const handle = metricsHandler({ token: null, insecure: false }, counting);
  const ask = async () =>
    (await handle(new Request("http://localhost/metrics"), "127.0.0.1")).text();
  assert.deepEqual(await Promise.all([ask(), ask(), ask()]), ["x 1\n", "x 1\n", "x 1\n"]);
  assert.equal(await ask(), "x 2\n");
});
