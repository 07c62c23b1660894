/** Inference. */
import type { Context, Hono } from "hono";
import { MS } from "../../core/clock.ts";
import { RequestStatus } from "../../core/status.ts";
import type { Failure } from "../../client/result.ts";
import type { Pieces } from "../body.ts";
import { httpErrorOf } from "../failures.ts";
import type { GatewayContext, InferenceTrace } from "../gateway.ts";
import type { GatewayEnv } from "../guards.ts";
import { HttpError } from "../http_error.ts";
import { inferAll, releaseAll } from "../inference.ts";
import type { NamedModel, Version } from "../models.ts";
import { type InferenceRequest, readInferenceRequest } from "../tensors/request.ts";
import { writeInferenceResponse } from "../tensors/response.ts";
import { versionOf } from "./models.ts";
import { modelRoute } from "./route.ts";

const CONTENT_TYPES = ["application/json", "application/octet-stream"];
/** What curl says of any body unless it is told; examples for servers of this protocol often do not. */
const CURLS_CONTENT_TYPE = "application/x-www-form-urlencoded";

export function inferenceRoutes(app: Hono<GatewayEnv>, context: GatewayContext): void {
  modelRoute(app, "POST", "/infer", async (c, name, wanted) => {
    checkContentType(c);
    const jsonBytes = headerLength(c);
    const sloNs = sloOf(c);
    const model = await context.upstream.find(name);
    const version = wanted === null ? model.any : versionOf(model, wanted);
    return await context.bodies.with(
      c.req.raw,
      (body) => infer(context, model, version, body, jsonBytes, sloNs),
    );
  });
}

async function infer(
  context: GatewayContext,
  model: NamedModel,
  version: Version,
  body: Pieces,
  jsonBytes: number | null,
  sloNs: number,
): Promise<Response> {
  const { clock, limits, statistics, onInference } = context;
  const startNs = clock.now();
  const trace = context.trace?.(model.name, version.version) ?? null;
  const record = (httpStatus: number, batchSize: number, clusterNs = 0): void => {
    const durationNs = clock.now() - startNs;
    trace?.end(httpStatus);
    if (httpStatus === 200) {
      const epochMs = context.epochMs();
      statistics.succeeded(
        model.name,
        version.version,
        batchSize,
        durationNs,
        clusterNs,
        epochMs,
      );
    } else {
      statistics.failed(model.name, version.version, durationNs);
    }
    onInference?.({
      model: model.name,
      version: version.version,
      httpStatus,
      batchSize,
      durationNs,
    });
  };
  let batchSize = 1;
  try {
    const request = readInferenceRequest(body, jsonBytes, model.description, limits.maxBatchSize);
    batchSize = request.batchSize;
    const askedNs = clock.now();
    const outputs = await run(context, model, version, request, startNs, sloNs, trace);
    const clusterNs = clock.now() - askedNs;
    const answer = writeInferenceResponse(model.name, version.version, request, outputs);
    releaseAll(outputs);
    record(200, batchSize, clusterNs);
    return new Response(answer.body, {
      headers: { ...answer.headers, "content-length": String(answer.body.length) },
    });
  } catch (error) {
    record(error instanceof HttpError ? error.status : 500, batchSize);
    throw error;
  }
}

/** The outputs of all requests of the batch, each to be given back. */
async function run(
  context: GatewayContext,
  model: NamedModel,
  version: Version,
  request: InferenceRequest,
  startNs: number,
  sloNs: number,
  trace: InferenceTrace | null,
): Promise<readonly Uint8Array[]> {
  const { clock, upstream } = context;
  const { client, defaultSloNs } = upstream;
  const allowedNs = Math.min(request.timeoutNs ?? Infinity, sloNs);
  // What reading the request has taken is part of it.
  const leftNs = allowedNs - (clock.now() - startNs);
  if (leftNs <= 0) {
    throw new HttpError(504, "the deadline had passed when the request had been read");
  }
  const outcome = await inferAll(
    client,
    version.model,
    request.inputs,
    {
      deadlineNs: leftNs === Infinity ? 0 : leftNs,
      ...(trace === null ? {} : { trace: trace.traceparent }),
    },
  );
  if (outcome.ok) return outcome.outputs;
  const { failure } = outcome;
  if (isOfUnknownModel(failure)) {
    await upstream.refresh();
    if (upstream.models.get(model.name)?.version(version.version)?.status !== "ready") {
      throw new HttpError(404, `version ${version.version} of model "${model.name}" was unloaded`);
    }
  }
  const deadlineNs = startNs + (allowedNs === Infinity ? defaultSloNs : allowedNs);
  throw httpErrorOf(failure, clock.now() >= deadlineNs, client.closedBecause === null);
}

/** Sizes have been checked: a request is invalid when its model has left since it was found. */
function isOfUnknownModel({ from, status }: Failure): boolean {
  return from === "controller" && status === RequestStatus.invalidRequest;
}

function checkContentType(c: Context<GatewayEnv>): void {
  const type = (c.req.header("content-type") ?? "").split(";", 1).join().trim().toLowerCase();
  if (type === "" || type === CURLS_CONTENT_TYPE || CONTENT_TYPES.includes(type)) return;
  throw new HttpError(
    415,
    `the Content-Type is ${type.slice(0, 100)}, expected ${CONTENT_TYPES.join(" or ")}`,
  );
}

/** How much of the body is JSON, by Triton's header; null: all. */
function headerLength(c: Context<GatewayEnv>): number | null {
  const text = c.req.header("inference-header-content-length");
  if (text === undefined) return null;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new HttpError(
    400,
    `Inference-Header-Content-Length is ${text.slice(0, 40)}, expected a number of bytes`,
  );
}

/** Time allowed by the header `x-slo-ms`, in nanoseconds; Infinity where there is none. */
function sloOf(c: Context<GatewayEnv>): number {
  const text = c.req.header("x-slo-ms");
  if (text === undefined) return Infinity;
  const ms = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (ms > 0 && ms <= Number.MAX_SAFE_INTEGER / MS) return ms * MS;
  throw new HttpError(400, `x-slo-ms is ${text.slice(0, 40)}, expected milliseconds, more than 0`);
}
