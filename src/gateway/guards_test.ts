/** Who may ask, and from where. */
import assert from "node:assert/strict";
import { GatewayRig } from "./testing.ts";

const TOKEN = "0123456789abcdef";
const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

Deno.test("with a token, whoever says it is served; health is told to anybody", async () => {
  const rig = await new GatewayRig({ token: TOKEN }).start();
  for (const path of ["/v2", "/v2/models/x", "/v2/models/stats", "/openapi.json", "/nothing"]) {
    const response = await rig.ask(path);
    assert.equal(response.status, 401, path);
    assert.equal(response.headers.get("www-authenticate"), "Bearer");
    assert.match((await response.json()).error, /asks for a token/);
    for (const wrong of ["0123456789abcdeF", `${TOKEN}0`, "x"]) {
      const failure = await rig.failure(rig.ask(path, bearer(wrong)));
      assert.equal(failure, "401 the token is not the right one");
    }
  }
  assert.equal((await rig.ask("/v2", bearer(TOKEN))).status, 200);
  assert.equal((await rig.ask("/v2/health/live")).status, 200);
  assert.equal((await rig.ask("/v2/health/ready")).status, 200);
});

const from = (origin: string, init: RequestInit = {}): RequestInit => ({
  ...init,
  headers: { origin, host: "gateway", "content-type": "application/json" },
});
const load = { method: "POST", body: "{}" };

Deno.test("pages of other origins can do nothing, unless they may", async () => {
  const path = "/v2/repository/models/m/load";
  const none = await new GatewayRig().start();
  assert.match(
    await none.failure(none.ask(path, from("https://evil.example", load))),
    /^403 pages of other origins may not ask/,
  );
  assert.equal(none.controller.asked.length, 0);
  const read = await none.ask("/v2", from("https://evil.example"));
  assert.equal(read.headers.get("access-control-allow-origin"), null);
  const own = await none.failure(none.ask(path, from("http://gateway", load)));
  assert.match(own, /^400 no/, "the gateway's own pages may");

  const one = await new GatewayRig({ cors: "https://good.example" }).start();
  assert.match(await one.failure(one.ask(path, from("https://evil.example", load))), /^403 /);
  const allowed = await one.ask(path, from("https://good.example", load));
  assert.equal(allowed.status, 400);
  assert.equal(allowed.headers.get("access-control-allow-origin"), "https://good.example");
  assert.equal(allowed.headers.get("vary"), "origin");

  const all = await new GatewayRig({ cors: "*" }).start();
  const any = await all.ask("/v2", from("https://any.example"));
  assert.equal(any.headers.get("access-control-allow-origin"), "*");
});

Deno.test("where only this machine is served, a page's own name for it is no way in", async () => {
  const rig = await new GatewayRig({ anyHost: false }).start();
  const ask = (url: string) => rig.until(rig.gateway.fetch(new Request(url)));
  for (const host of ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "10.1.2.3"]) {
    assert.equal((await ask(`http://${host}/v2`)).status, 200, host);
  }
  for (const host of ["evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example"]) {
    assert.match(
      await rig.failure(ask(`http://${host}/v2`)),
      /^403 without a token this gateway answers as localhost or by its address, not as .*example:/,
    );
  }
  const any = await new GatewayRig({ anyHost: true }).start();
  const answer = await any.until(any.gateway.fetch(new Request("http://models.example/v2")));
  assert.equal(answer.status, 200);
});

Deno.test("browsers are told beforehand, without a token, and what they may", async () => {
  const rig = await new GatewayRig({ token: TOKEN, cors: "https://good.example" }).start();
  const preflight = await rig.ask("/v2/models/m/infer", {
    method: "OPTIONS",
    headers: {
      origin: "https://good.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization, content-type",
    },
  });
  assert.equal(preflight.status, 204);
  const header = (name: string) => preflight.headers.get(`access-control-allow-${name}`);
  assert.equal(header("origin"), "https://good.example");
  assert.equal(header("methods"), "GET, POST");
  assert.equal(header("headers"), "authorization, content-type");
  const failed = await rig.ask("/v2", from("https://good.example"));
  assert.equal(failed.status, 401);
  assert.equal(
    failed.headers.get("access-control-allow-origin"),
    "https://good.example",
    "a page may read why",
  );
});

Deno.test("a request's id is repeated, in failures too", async () => {
  const rig = await new GatewayRig().start();
  for (const path of ["/v2", "/nothing"]) {
    const response = await rig.ask(path, { headers: { "x-request-id": "abc-1" } });
    assert.equal(response.headers.get("x-request-id"), "abc-1");
  }
  const long = await rig.ask("/v2", { headers: { "x-request-id": "x".repeat(300) } });
  assert.equal(long.headers.get("x-request-id"), null);
});
