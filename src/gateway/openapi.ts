/** The gateway's description of itself, as an OpenAPI document. */
import { DATATYPE_BYTES } from "../core/datatype.ts";

type Json = Readonly<Record<string, unknown>>;

const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const content = (schema: Json): Json => ({ "application/json": { schema } });
const ok = (description: string, schema: Json = { type: "object" }): Json => ({
  "200": { description, content: content(schema) },
});

/** Answers that an operation has when it fails, by status. */
const FAILURES: Readonly<Record<number, string>> = {
  400: "The request is not what it should be; the message names the tensor",
  401: "The token is missing, or not the right one",
  404: "Unknown model or version",
  408: "The body did not come in time",
  413: "The body is too large",
  415: "The content type or encoding is not understood",
  429: "Refused for load: try again after Retry-After seconds",
  500: "The inference failed",
  503: "The controller is away or initializing, or the gateway is shutting down",
  504: "The deadline has passed",
};

function failures(...statuses: (keyof typeof FAILURES)[]): Json {
  return Object.fromEntries(
    statuses.map((status) => [
      String(status),
      { description: FAILURES[status], content: content(ref("Error")) },
    ]),
  );
}

function get(summary: string, responses: Json): Json {
  return { get: { summary, responses } };
}

function post(summary: string, body: Json | null, responses: Json, parameters: Json[] = []): Json {
  return {
    post: {
      summary,
      ...(parameters.length === 0 ? {} : { parameters }),
      ...(body === null ? {} : { requestBody: body }),
      responses,
    },
  };
}

const inPath = (name: string, description: string): Json => ({
  name,
  in: "path",
  required: true,
  description,
  schema: { type: "string" },
});
const inHeader = (name: string, description: string, schema: Json): Json => ({
  name,
  in: "header",
  description,
  schema,
});

const NAME = inPath("name", "The model's folder, or its path where another model has that name");
const VERSION = inPath("version", "A copy's model id");

const INFER_BODY = {
  required: true,
  content: {
    "application/json": { schema: ref("InferenceRequest") },
    "application/octet-stream": {
      schema: { type: "string", format: "binary" },
    },
  },
};

const ABOVE_0 = { type: "number", exclusiveMinimum: 0 };

const INFER_HEADERS = [
  inHeader("x-slo-ms", "Time allowed, in milliseconds", ABOVE_0),
  inHeader("x-request-id", "Repeated in the answer", { type: "string" }),
  inHeader(
    "Inference-Header-Content-Length",
    "How many bytes of the body are JSON; tensors' binary data follow. 0: all is the only input's data",
    { type: "integer", minimum: 0 },
  ),
];

/** The operations on a model, below its path with or without a version. */
function modelPaths(path: string, parameters: readonly Json[]): Readonly<Record<string, Json>> {
  const withParameters = (item: Json): Json => ({ parameters, ...item });
  return {
    [path]: withParameters(
      get("Inputs, outputs and versions", {
        ...ok("Metadata", ref("ModelMetadata")),
        ...failures(401, 404, 503),
      }),
    ),
    [`${path}/ready`]: withParameters(
      get("Whether it can be asked for inferences", {
        ...ok("It is ready"),
        ...failures(401, 404, 503),
      }),
    ),
    [`${path}/config`]: withParameters(
      get("Triton's model configuration", { ...ok("Configuration"), ...failures(401, 404, 503) }),
    ),
    [`${path}/stats`]: withParameters(
      get("What this gateway has served", { ...ok("Statistics"), ...failures(401, 404, 503) }),
    ),
    [`${path}/infer`]: withParameters(
      post("Run an inference, or a batch of them", INFER_BODY, {
        ...ok("The outputs", ref("InferenceResponse")),
        ...failures(400, 401, 404, 408, 413, 415, 429, 500, 503, 504),
      }, INFER_HEADERS),
    ),
  };
}

const tensor = (extra: Json): Json => ({
  type: "object",
  required: ["name", "datatype", "shape"],
  properties: {
    name: { type: "string" },
    datatype: { type: "string", enum: Object.keys(DATATYPE_BYTES) },
    shape: { type: "array", items: { type: "integer" } },
    ...extra,
  },
});
const PARAMETERS = { type: "object", additionalProperties: true };
const DATA = {
  type: "array",
  description: "Values in row-major order, flat or nested; null is NaN",
  items: {},
};

/**
 * @param version of this program.
 * @param asksForToken whether clients must say one.
 */
export function openApi(version: string, asksForToken: boolean): Json {
  const unprotected = { security: [] };
  return {
    openapi: "3.1.0",
    info: {
      title: "Clockwork gateway",
      version,
      description: "The Open Inference Protocol, version 2, and some of Triton's extensions.",
    },
    security: asksForToken ? [{ token: [] }] : [],
    paths: {
      "/v2": get("The server's name, version and extensions", {
        ...ok("Metadata"),
        ...failures(401),
      }),
      "/v2/health/live": {
        get: { summary: "Whether the gateway runs", ...unprotected, responses: ok("It does") },
      },
      "/v2/health/ready": {
        get: {
          summary: "Whether inferences can be asked for",
          ...unprotected,
          responses: { ...ok("They can"), ...failures(503) },
        },
      },
      "/v2/models/stats": get("What this gateway has served", {
        ...ok("Statistics of all models"),
        ...failures(401, 503),
      }),
      ...modelPaths("/v2/models/{name}", [NAME]),
      ...modelPaths("/v2/models/{name}/versions/{version}", [NAME, VERSION]),
      "/v2/repository/index": post(
        "The copies that are loaded",
        { content: content({ type: "object", properties: { ready: { type: "boolean" } } }) },
        { ...ok("Name, version and state of each", { type: "array" }), ...failures(400, 401, 503) },
      ),
      "/v2/repository/models/{name}/load": {
        parameters: [NAME],
        ...post(
          "Load a model, unless it is",
          { content: content(ref("LoadRequest")) },
          { ...ok("It is loaded"), ...failures(400, 401, 429, 503) },
        ),
      },
      "/v2/repository/models/{name}/unload": {
        parameters: [NAME],
        ...post("Unload all copies of a model", null, {
          ...ok("They are unloaded"),
          ...failures(401, 404, 429, 503),
        }),
      },
      "/openapi.json": get("This document", { ...ok("It"), ...failures(401) }),
    },
    components: {
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
      schemas: {
        Error: {
          type: "object",
          required: ["error"],
          properties: { error: { type: "string" } },
        },
        ModelMetadata: {
          type: "object",
          required: ["name", "versions", "platform", "inputs", "outputs"],
          properties: {
            name: { type: "string" },
            versions: { type: "array", items: { type: "string" } },
            platform: { type: "string" },
            inputs: { type: "array", items: tensor({}) },
            outputs: { type: "array", items: tensor({}) },
          },
        },
        InferenceRequest: {
          type: "object",
          required: ["inputs"],
          properties: {
            id: { type: "string" },
            parameters: {
              type: "object",
              properties: {
                timeout: { ...ABOVE_0, description: "Time allowed, in microseconds" },
                binary_data_output: { type: "boolean" },
              },
            },
            inputs: { type: "array", items: tensor({ parameters: PARAMETERS, data: DATA }) },
            outputs: {
              type: "array",
              items: {
                type: "object",
                required: ["name"],
                properties: { name: { type: "string" }, parameters: PARAMETERS },
              },
            },
          },
        },
        InferenceResponse: {
          type: "object",
          required: ["model_name", "outputs"],
          properties: {
            model_name: { type: "string" },
            model_version: { type: "string" },
            id: { type: "string" },
            outputs: { type: "array", items: tensor({ parameters: PARAMETERS, data: DATA }) },
          },
        },
        LoadRequest: {
          type: "object",
          properties: {
            parameters: {
              type: "object",
              properties: { copies: { type: "integer", minimum: 1, default: 1 } },
            },
          },
        },
      },
    },
  };
}
