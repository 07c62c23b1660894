/** Traces, as an OpenTelemetry collector gets them from processes of their own. */
import assert from "node:assert/strict";
import * as api from "@opentelemetry/api";
import type { ActionRecord, RequestRecord } from "../telemetry/records.ts";
import { freePort } from "./demo/processes.ts";
import { HOST, Processes } from "./testing.ts";
import { Tracing } from "./tracing.ts";

const PATIENCE_MS = 40_000;
const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID = "b7ad6b7169203331";

interface Span {
  readonly service: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly beginNs: bigint;
  readonly endNs: bigint;
  readonly attributes: Readonly<Record<string, unknown>>;
}

interface Exported {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeSpans: readonly { readonly spans: readonly RawSpan[] }[];
  }[];
}

interface KeyValue {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

interface RawSpan extends Pick<Span, "name" | "traceId" | "spanId" | "parentSpanId"> {
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly KeyValue[];
}

/** Takes spans as OTLP over HTTP, in JSON. */
class Collector {
  readonly spans: Span[] = [];
  readonly #server = Deno.serve(
    { hostname: HOST, port: 0, onListen: () => {} },
    async (request) => {
      const body = await request.text();
      if (new URL(request.url).pathname === "/v1/traces") this.#take(JSON.parse(body));
      return Response.json({});
    },
  );

  /** What processes are told so that they send their spans here. */
  environment(service: string): Record<string, string> {
    return {
      OTEL_DENO: "true",
      OTEL_DENO_CONSOLE: "ignore",
      OTEL_SERVICE_NAME: service,
      OTEL_TRACES_SAMPLER: "parentbased_always_on",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://${HOST}:${this.#server.addr.port}`,
    };
  }

  async until(holds: () => boolean): Promise<void> {
    const endMs = performance.now() + PATIENCE_MS;
    while (!holds()) {
      const names = this.spans.map(({ name }) => name);
      assert.ok(performance.now() < endMs, `it does not come: ${names.join(", ")}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  close(): Promise<void> {
    return this.#server.shutdown();
  }

  #take({ resourceSpans }: Exported): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      const service = String(valuesOf(resource.attributes)["service.name"]);
      for (const { spans } of scopeSpans) {
        for (const { startTimeUnixNano, endTimeUnixNano, attributes, ...span } of spans) {
          this.spans.push({
            ...span,
            service,
            beginNs: BigInt(startTimeUnixNano),
            endNs: BigInt(endTimeUnixNano),
            attributes: valuesOf(attributes),
          });
        }
      }
    }
  }
}

/** Numbers are texts or numbers in OTLP's JSON, as their type has it. */
function valuesOf(attributes: readonly KeyValue[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => {
    const [[type, told]] = Object.entries(value) as [[string, unknown]];
    return [key, type === "intValue" || type === "doubleValue" ? Number(told) : told];
  }));
}

Deno.test("a request is traced from the front door to the GPU, as planned and as it was", async () => {
  const collector = new Collector();
  {
    await using processes = new Processes();
    const worker = await processes.worker();
    const port = freePort();
    const where = ["--host", HOST, "-p", `${port}`, "--default-slo", `${30e9}`];
    const controller = processes.start(
      ["controller", "INFER4", worker.address, ...where],
      collector.environment("the controller"),
    );
    await controller.printed("(Startup-3)");
    const http = freePort();
    const gateway = processes.start(
      ["gateway", `${HOST}:${port}`, "--port", `${http}`],
      collector.environment("the gateway"),
    );
    await gateway.printed("Connected to the controller");
    const base = `http://${HOST}:${http}/v2`;
    const load = `${base}/repository/models/resnet50_v2/load`;
    assert.equal((await (await fetch(load, { method: "POST" })).json()).copies, 1);
    const { inputs } = await (await fetch(`${base}/models/resnet50_v2`)).json();
    const [{ name, datatype, shape }] = inputs;
    const dimensions = shape.map((size: number) => Math.max(1, size));
    const data = new Array(dimensions.reduce((a: number, b: number) => a * b)).fill(0);
    const infer = async (headers: Record<string, string>) => {
      const response = await fetch(`${base}/models/resnet50_v2/infer`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ inputs: [{ name, datatype, shape: dimensions, data }] }),
      });
      assert.equal(response.status, 200, await response.text());
    };
    await infer({ traceparent: `00-${TRACE_ID}-${PARENT_ID}-01` });
    // Whoever asked says that this one is not to be traced.
    const quiet = "1".repeat(32);
    await infer({ traceparent: `00-${quiet}-${PARENT_ID}-00` });
    const ours = () => collector.spans.filter(({ traceId }) => traceId === TRACE_ID);
    await collector.until(() => ours().length >= 6);

    const byName = new Map(ours().map((span) => [span.name, span]));
    const chain = ["POST", "infer resnet50_v2", "request", "action Infer"];
    const [server, inference, request, action] = chain.map((name) => byName.get(name)!);
    const [plan, execution] = [byName.get("gpu plan")!, byName.get("gpu execution")!];
    assert.equal(ours().length, 6);
    assert.equal(server!.parentSpanId, PARENT_ID);
    assert.equal(inference!.parentSpanId, server!.spanId);
    assert.equal(request!.parentSpanId, inference!.spanId);
    assert.equal(action!.parentSpanId, request!.spanId);
    assert.equal(plan.parentSpanId, action!.spanId);
    assert.equal(execution.parentSpanId, action!.spanId);
    assert.deepEqual([server!, inference!].map(({ service }) => service), [
      "the gateway",
      "the gateway",
    ]);
    for (const span of [request!, action!, plan, execution]) {
      assert.equal(span.service, "the controller");
    }
    // The emulated GPU takes as long as the profile says, to within a few nanoseconds.
    const ms = ({ beginNs, endNs }: Span) => Number(endNs - beginNs) / 1e6;
    assert.ok(Math.abs(ms(execution) - 3.3) < 0.01, `${ms(execution)}`);
    assert.ok(Math.abs(ms(plan) - 3.3) < 0.01, `${ms(plan)}`);
    const { attributes } = action!;
    assert.equal(attributes["clockwork.expected_duration_ms"], 3.3);
    assert.equal(attributes["clockwork.batch_size"], 1);
    assert.equal(attributes["clockwork.status"], "success");
    assert.equal(request!.attributes["clockwork.cold"], true);
    assert.equal(request!.attributes["clockwork.in_time"], true);
    // A span lies within the one that it is of: the clocks of one machine are one.
    for (const [outer, inner] of [[request!, action!], [action!, execution]] as const) {
      assert.ok(
        inner.beginNs >= outer.beginNs - 1_000_000n && inner.endNs <= outer.endNs + 1_000_000n,
      );
    }
    assert.ok(inference!.beginNs <= request!.beginNs + 5_000_000n);
    assert.ok(
      !collector.spans.some(({ traceId, name }) => traceId === quiet && name === "request"),
    );
  }
  await collector.close();
});

/** Spans as they were begun, in their order: each with the name of the one that it is of. */
function fakeApi() {
  const begun: { readonly name: string; readonly parent: string; ended: boolean }[] = [];
  const names = new Map<string, string>();
  let count = 0;
  const tracer = {
    startSpan(name: string, _options: unknown, context: api.Context) {
      const parentId = api.trace.getSpanContext(context)!.spanId;
      const spanId = String(++count).padStart(16, "0");
      names.set(spanId, name);
      const span = { name, parent: names.get(parentId) ?? parentId, ended: false };
      begun.push(span);
      return {
        spanContext: () => ({ traceId: TRACE_ID, spanId, traceFlags: 1 }),
        setStatus() {},
        end: () => span.ended = true,
      } as unknown as api.Span;
    },
  };
  const trace = new Proxy(api.trace, {
    get: (target, key) =>
      key === "getTracer" ? () => tracer : Reflect.get(target, key).bind(target),
  });
  return { tracing: new Tracing({ ...api, trace }), begun };
}

function actionOf(requestId: number, status: number, trace: string): ActionRecord {
  return {
    actionId: requestId,
    type: 2,
    action: {
      type: "Infer",
      batchSize: 1,
      gpu: { workerId: 0, gpuId: 0 },
      modelId: 0,
      expectedNs: 3e6,
      expectedEndNs: 9e6,
      queued: 0,
      copiesLoaded: 1,
    },
    status,
    sentNs: 5e6,
    beginNs: status === 0 ? 6e6 : 0,
    endNs: status === 0 ? 9e6 : 0,
    copyOutputEndNs: 0,
    receivedByWorkerNs: 0,
    sentByWorkerNs: 0,
    enqueuedNs: 10e6,
    gpuClockBefore: 0,
    gpuClock: 0,
    goodput: 1,
    traced: [{ requestId, trace }],
  };
}

function requestOf(requestId: number, status: number, trace: string): RequestRecord {
  return {
    requestId,
    userId: 0,
    modelId: 0,
    sloFactor: 0,
    arrivalNs: 1e6,
    deadlineNs: 100e6,
    departureNs: 11e6,
    status,
    arrivalCount: 0,
    departureCount: 0,
    cold: false,
    trace,
  };
}

const SAMPLED = `00-${TRACE_ID}-${PARENT_ID}-01`;

Deno.test("all actions that a request was given to are of its span, those that failed too", () => {
  const { tracing, begun } = fakeApi();
  // An action that fails gives its requests back; the one that serves them is told after the request.
  tracing.onAction(actionOf(1, 81, SAMPLED));
  tracing.onRequest(requestOf(1, 0, SAMPLED), "m");
  tracing.onAction(actionOf(1, 0, SAMPLED));
  tracing.onRequest(requestOf(2, 7, SAMPLED), "m");
  assert.deepEqual(begun.map(({ name, parent }) => [name, parent]), [
    ["request", PARENT_ID],
    ["action Infer", "request"],
    ["gpu plan", "action Infer"],
    ["action Infer", "request"],
    ["gpu plan", "action Infer"],
    ["gpu execution", "action Infer"],
    ["request", PARENT_ID],
  ]);
  assert.ok(begun.every(({ ended }) => ended));
});

Deno.test("an action whose failure its request is answered with is of the request's span", () => {
  const { tracing, begun } = fakeApi();
  // Nobody else could serve it in time: the request is refused, and then the action told.
  tracing.onRequest(requestOf(1, 8, SAMPLED), "m");
  tracing.onAction(actionOf(1, 81, SAMPLED));
  assert.deepEqual(begun.map(({ name, parent }) => [name, parent]), [
    ["request", PARENT_ID],
    ["action Infer", "request"],
    ["gpu plan", "action Infer"],
  ]);
});

Deno.test("actions are kept no longer than their requests wait", () => {
  const { tracing, begun } = fakeApi();
  for (let id = 0; id <= 10_000; id++) {
    tracing.onAction(actionOf(id, 81, SAMPLED));
    begun.length = 0;
    tracing.onRequest(requestOf(id, 8, SAMPLED), "m");
  }
  assert.deepEqual(begun.map(({ name }) => name), ["request", "action Infer", "gpu plan"]);
});

Deno.test("what is no trace context, or is not sampled, makes no span and is not kept", () => {
  const { tracing, begun } = fakeApi();
  const none = `00-${"0".repeat(32)}-${PARENT_ID}-01`;
  for (const trace of ["", "x", SAMPLED.replace("-01", "-00"), SAMPLED.toUpperCase(), none]) {
    tracing.onAction(actionOf(1, 81, trace));
    tracing.onRequest(requestOf(1, 0, trace), "m");
  }
  assert.deepEqual(begun, []);
});
