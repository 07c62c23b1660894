/** The dashboard's files and its stream of events, without a browser. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../../core/clock.ts";
import type { ClusterState } from "../../wire/cluster_state.ts";
import { describedModel, GatewayRig } from "../testing.ts";
import { pageFiles } from "./files.ts";
import { MAX_STREAMS } from "./watch.ts";

/** Reads a stream's events as they come. */
class Events {
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #rig: GatewayRig;
  #text = "";

  constructor(rig: GatewayRig, response: Response) {
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    this.#rig = rig;
    this.#reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The next event; null at the end. Comments are passed over. */
  async next(): Promise<{ name: string; data: Record<string, unknown> } | null> {
    while (true) {
      const end = this.#text.indexOf("\n\n");
      if (end >= 0) {
        const part = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        const match = /^event: (\w+)\ndata: (.*)$/.exec(part);
        if (match !== null) return { name: match[1]!, data: JSON.parse(match[2]!) };
        assert.match(part, /^: /);
      } else {
        const reading = this.#reader.read();
        let settled = false;
        reading.then(() => settled = true, () => settled = true);
        // In larger steps than those of `until`: half a second has to pass.
        while (!settled) await this.#rig.pass(20 * MS);
        const { value, done } = await reading;
        if (done) return null;
        this.#text += value;
      }
    }
  }

  /** What the next event of this name tells; others are passed over. */
  async until(name: string): Promise<Record<string, unknown>> {
    while (true) {
      const event = await this.next();
      assert.ok(event !== null, `the stream ended without ${name}`);
      if (event.name === name) return event.data;
    }
  }

  close(): Promise<void> {
    return this.#reader.cancel();
  }
}

const noActions: ClusterState["actions"] = {
  action_id: [],
  action_type: [],
  worker_id: [],
  gpu_id: [],
  model_id: [],
  batch_size: [],
  planned_begin_ns: [],
  planned_end_ns: [],
  status: [],
  begin_ns: [],
  end_ns: [],
};

/** A controller with a model of two copies, that counts how often it is asked. */
async function rig(options: ConstructorParameters<typeof GatewayRig>[0] = {}) {
  const made = new GatewayRig(options);
  const { controller } = made;
  const tensor = { name: "x", datatype: "FP32", shape: [-1, 3] };
  controller.models = [describedModel(4, "zoo/mlp/model", [tensor], [tensor], 2)];
  const cursors: number[] = [];
  controller.clusterState = (cursor) => {
    cursors.push(cursor);
    return {
      cursor: cursors.length,
      state: "serving",
      now_ns: made.clock.now(),
      unanswered: 0,
      no_of_models: 2,
      no_of_workers: 0,
      no_of_gpus: 0,
      workers: [],
      gpus: [],
      model_figures: [{
        model_path: "zoo/mlp/model",
        no_of_copies: 2,
        answered: 1,
        in_time: 1,
        cold_starts: 0,
        p50_ns: 1,
        p99_ns: 1,
      }],
      seconds: [],
      actions: { ...noActions, action_id: [1, 2], model_id: [5, 99] },
      planned_actions: noActions,
      events: [],
    };
  };
  return { rig: await made.start(), cursors };
}

Deno.test("the page's files are served, and may load nothing but one another", async () => {
  const { rig: gateway } = await rig({ token: "0123456789abcdef" });
  for (const [path, { text }] of pageFiles) {
    const response = await gateway.ask(path);
    assert.equal(response.status, 200, path);
    assert.equal(await response.text(), text);
    const policy = response.headers.get("content-security-policy")!;
    assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; /);
    assert.doesNotMatch(policy, /unsafe/);
  }
  const page = pageFiles.get("/")!.text;
  assert.doesNotMatch(page, /<script>|<style|\son\w+=|style=/);
  // What the page and its modules ask for is there.
  for (const [, path] of page.matchAll(/(?:src|href)="(?!data:)([^"]+)"/g)) {
    assert.ok(pageFiles.has(`/${path}`), path);
  }
  for (const { text } of pageFiles.values()) {
    for (const [, module] of text.matchAll(/ from "\.\/([\w.]+)";/g)) {
      assert.ok(pageFiles.has(`/dashboard/${module}`), module);
    }
  }
  assert.equal((await gateway.ask("/", { method: "POST" })).status, 405);
});

Deno.test("events are told to those who may know, with the names of models", async () => {
  const { rig: gateway } = await rig({ token: "0123456789abcdef" });
  assert.equal((await gateway.ask("/dashboard/events")).status, 401);
  const headers = { authorization: "Bearer 0123456789abcdef" };
  const events = new Events(gateway, await gateway.ask("/dashboard/events", { headers }));
  const first = await events.next();
  assert.equal(first!.name, "state");
  assert.equal(first!.data["fresh"], true);
  assert.deepEqual(first!.data["names"], [[5, "mlp"]]);
  const [figures] = first!.data["model_figures"] as { name: string }[];
  assert.equal(figures!.name, "mlp");
  assert.equal((await events.next())!.data["fresh"], false);
  await events.close();
});

Deno.test("the controller is asked once for all pages, and no more when all are closed", async () => {
  const { rig: gateway, cursors } = await rig();
  const pages = [];
  for (let i = 0; i < 10; i++) {
    pages.push(new Events(gateway, await gateway.ask("/dashboard/events")));
  }
  for (const page of pages) await page.next();
  assert.equal(gateway.gateway.dashboards, 10);
  const asked = cursors.length;
  await gateway.pass(5 * SECOND);
  assert.ok(cursors.length - asked <= 11, `${cursors.length - asked}`);
  // Each question goes on from the last answer.
  assert.deepEqual(cursors.slice(-2), [cursors.length - 2, cursors.length - 1]);
  for (const page of pages) await page.close();
  await gateway.pass(1 * SECOND);
  assert.equal(gateway.gateway.dashboards, 0);
  const before = cursors.length;
  await gateway.pass(5 * SECOND);
  assert.equal(cursors.length, before);
});

Deno.test("pages are told that the controller is away, and all anew when one is back", async () => {
  const { rig: gateway, cursors } = await rig();
  const events = new Events(gateway, await gateway.ask("/dashboard/events"));
  await events.next();
  await events.next();
  gateway.reachable = false;
  gateway.link.cut();
  const away = await events.until("away");
  assert.match(String(away["reason"]), /^the controller is away: /);
  gateway.reachable = true;
  const back = await events.until("state");
  assert.equal(back["fresh"], true);
  assert.equal(cursors.at(-1), 0);
  await events.close();
});

Deno.test("a controller that does not answer is away, too", async () => {
  const { rig: gateway } = await rig();
  const events = new Events(gateway, await gateway.ask("/dashboard/events"));
  await events.next();
  gateway.controller.clusterState = () => null;
  const away = await events.until("away");
  assert.equal(away["reason"], "the controller does not answer");
  await events.close();
});

Deno.test("too many pages, and those that do not read, are turned away; all end with the gateway", async () => {
  const { rig: gateway } = await rig();
  const responses: Response[] = [];
  for (let i = 0; i < MAX_STREAMS; i++) responses.push(await gateway.ask("/dashboard/events"));
  const refused = await gateway.ask("/dashboard/events");
  assert.equal(refused.status, 429);
  const reading = new Events(gateway, responses.pop()!);
  for (let i = 0; i < 40; i++) {
    await gateway.pass(500 * MS);
    await reading.next();
  }
  assert.equal(gateway.gateway.dashboards, 1);
  // What waited for them is dropped: a socket that nobody reads may stay open for long.
  for (const { body } of responses) await assert.rejects(body!.getReader().read(), /does not read/);
  gateway.gateway.drain();
  while (await reading.next() !== null);
  assert.equal(gateway.gateway.dashboards, 0);
});
