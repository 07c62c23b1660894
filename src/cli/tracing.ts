/**
 * Traces for OpenTelemetry, sent by Deno's own exporter: from a gateway's HTTP request down to what a GPU
 * did and what the controller had planned. This is the only file that creates spans, and only with
 * OTEL_DENO.
 */
import type { Attributes, Context, HrTime, Span, Tracer } from "@opentelemetry/api";
import { MS, SECOND } from "../core/clock.ts";
import { ActionStatus, RequestStatus } from "../core/status.ts";
import type { InferenceTrace } from "../gateway/gateway.ts";
import type { ActionRecord, RequestRecord } from "../telemetry/records.ts";

type Api = typeof import("@opentelemetry/api");

/** Actions that are kept until their request has been answered; beyond that they are not traced. */
const MAX_KEPT = 10_000;

/** Loads what makes spans; null unless Deno's OpenTelemetry is on, by OTEL_DENO=true. */
export async function openTracing(): Promise<Tracing | null> {
  if (!/^(1|true)$/i.test(Deno.env.get("OTEL_DENO") ?? "")) return null;
  return new Tracing(await import("@opentelemetry/api"));
}

export class Tracing {
  readonly #api: Api;
  readonly #tracer: Tracer;
  /** Actions by the id of a request that has not been answered: it may be given to several. */
  readonly #kept = new Map<number, ActionRecord[]>();
  /** Requests that have been answered in this turn, whose action has yet to be told. */
  readonly #answered = new Map<number, Context>();

  constructor(api: Api) {
    this.#api = api;
    this.#tracer = api.trace.getTracer("clockwork");
  }

  /** Begins the span of an inference at a gateway, below that of its HTTP request. */
  inference(model: string, version: string): InferenceTrace | null {
    const { SpanKind, SpanStatusCode } = this.#api;
    const span = this.#tracer.startSpan(`infer ${model}`, {
      kind: SpanKind.CLIENT,
      attributes: { "clockwork.model": model, "clockwork.version": version },
    });
    const { traceId, spanId, traceFlags } = span.spanContext();
    // Not sampled: the controller need not know.
    if ((traceFlags & this.#api.TraceFlags.SAMPLED) === 0) {
      span.end();
      return null;
    }
    return {
      traceparent: `00-${traceId}-${spanId}-01`,
      end: (httpStatus) => {
        span.setAttribute("http.response.status_code", httpStatus);
        if (httpStatus >= 400) span.setStatus({ code: SpanStatusCode.ERROR });
        span.end();
      },
    };
  }

  /** A controller has answered a request. */
  onRequest(record: RequestRecord, model: string): void {
    const parent = record.trace === undefined ? null : this.#contextOf(record.trace);
    if (parent === null) return;
    const { requestId, arrivalNs, deadlineNs, departureNs, status } = record;
    const span = this.#span("request", parent, arrivalNs, {
      "clockwork.request_id": requestId,
      "clockwork.model": model,
      "clockwork.model_id": record.modelId,
      "clockwork.user_id": record.userId,
      "clockwork.status": nameOf(RequestStatus, status),
      "clockwork.allowed_ms": (deadlineNs - arrivalNs) / MS,
      "clockwork.in_time": status === RequestStatus.success && departureNs <= deadlineNs,
      "clockwork.cold": record.cold,
    });
    if (status !== RequestStatus.success) {
      span.setStatus({ code: this.#api.SpanStatusCode.ERROR });
    }
    span.end(timeOf(departureNs));
    const context = this.#api.trace.setSpan(parent, span);
    for (const action of this.#kept.get(requestId) ?? []) this.#action(action, context);
    this.#kept.delete(requestId);
    // The action that answered it, or whose failure did, is told in the same turn, after it.
    if (this.#answered.size === 0) queueMicrotask(() => this.#answered.clear());
    this.#answered.set(requestId, context);
  }

  /** An action of a controller has ended. */
  onAction(record: ActionRecord): void {
    for (const { requestId, trace } of record.traced ?? []) {
      if (this.#contextOf(trace) === null) continue;
      const context = this.#answered.get(requestId);
      if (context !== undefined) {
        this.#action(record, context);
        continue;
      }
      const kept = this.#kept.get(requestId);
      if (kept !== undefined) kept.push(record);
      else if (this.#kept.size < MAX_KEPT) this.#kept.set(requestId, [record]);
    }
  }

  #action(record: ActionRecord, parent: Context): void {
    const { action, status, beginNs, endNs } = record;
    const plannedBeginNs = action.expectedEndNs - action.expectedNs;
    const attributes = {
      "clockwork.action_id": record.actionId,
      "clockwork.worker_id": action.gpu.workerId,
      "clockwork.gpu_id": action.gpu.gpuId,
      "clockwork.batch_size": action.type === "Infer" ? action.batchSize : 0,
      "clockwork.status": nameOf(ActionStatus, status),
      "clockwork.expected_duration_ms": action.expectedNs / MS,
    };
    const span = this.#span(`action ${action.type}`, parent, record.sentNs, attributes);
    const context = this.#api.trace.setSpan(parent, span);
    this.#span("gpu plan", context, plannedBeginNs, {}).end(timeOf(action.expectedEndNs));
    if (status === ActionStatus.success) {
      this.#span("gpu execution", context, beginNs, {
        "clockwork.duration_ms": (endNs - beginNs) / MS,
        "clockwork.late_ms": (endNs - action.expectedEndNs) / MS,
      }).end(timeOf(endNs));
    } else {
      span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: record.message ?? "" });
    }
    span.end(timeOf(record.enqueuedNs));
  }

  #span(name: string, parent: Context, startNs: number, attributes: Attributes): Span {
    return this.#tracer.startSpan(name, { startTime: timeOf(startNs), attributes }, parent);
  }

  /** The context that a W3C `traceparent` tells; null if it tells none, or is not sampled. */
  #contextOf(trace: string): Context | null {
    const match = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(trace);
    if (match === null) return null;
    const [, traceId, spanId, flags] = match;
    const traceFlags = parseInt(flags!, 16);
    const { ROOT_CONTEXT, TraceFlags, isSpanContextValid, trace: traces } = this.#api;
    const spanContext = { traceId: traceId!, spanId: spanId!, traceFlags, isRemote: true };
    if (!isSpanContextValid(spanContext) || (traceFlags & TraceFlags.SAMPLED) === 0) {
      return null;
    }
    return traces.setSpanContext(ROOT_CONTEXT, spanContext);
  }
}

/** A time of the process's clock since 1970, as OpenTelemetry takes it. */
function timeOf(ns: number): HrTime {
  const sinceOriginNs = Math.round(ns);
  const originS = Math.floor(performance.timeOrigin / 1000);
  const originNs = Math.round((performance.timeOrigin - 1000 * originS) * MS);
  const seconds = Math.floor((originNs + sinceOriginNs) / SECOND);
  return [originS + seconds, originNs + sinceOriginNs - seconds * SECOND];
}

function nameOf(statuses: Readonly<Record<string, number>>, status: number): string {
  return Object.entries(statuses).find(([, code]) => code === status)?.[0] ?? String(status);
}
