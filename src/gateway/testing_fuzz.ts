/** For tests and benches: HTTP requests that are nearly right, by seed. See wire/testing_fuzz.ts. */
import type { Random } from "../core/random.ts";
import type { Conversation } from "../wire/testing_fuzz.ts";

/** Bodies larger than the head says, or smaller, make what follows something else than a request. */
const MAX_BODY_BYTES = 2000;

const encoder = new TextEncoder();

/** What an inference on `model` may ask with: right but for its tensors. */
function inferBody(random: Random, model: string): string {
  const tensor = {
    name: pick(random, ["data", "x", "", "a\u0000b", "ü"]),
    datatype: pick(random, ["FP32", "BYTES", "FP16", "INT64", "fp32", ""]),
    shape: pick<unknown>(random, [[1, 4], [], [-1], [2 ** 40, 2 ** 40], [1.5], "no", null, [0]]),
    data: pick<unknown>(random, [[1, 2, 3, 4], [[1], [2, [3]]], "data", null, [1e999, NaN], []]),
    parameters: pick<unknown>(random, [
      {},
      null,
      { binary_data_size: random.uint32() },
      { binary_data_size: -1 },
      { timeout: "soon" },
    ]),
  };
  const inputs = Array.from({ length: random.below(4) }, () => tensor);
  return JSON.stringify({ id: pick(random, ["1", "x".repeat(500)]), model_name: model, inputs });
}

/** One of the gateway's requests, for models that there are and that there are not. */
function request(random: Random, models: readonly string[]): Uint8Array {
  const known = pick(random, models);
  const unknown = pick(random, ["nobody", "..%2f..%2fetc", "%00", "%", "a".repeat(3000), "%ff"]);
  const model = random.below(2) === 0 ? known : unknown;
  const gets = [
    "/",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    `/v2/models/${model}`,
    `/v2/models/${model}/ready`,
    `/v2/models/${model}/versions/${random.uint32()}/config`,
    `/v2/models/${model}/stats`,
    "/v2/models/stats",
    "/openapi.json",
    "/metrics",
    "/../../etc/passwd",
    `/${"a/".repeat(random.below(500))}`,
    "*",
    "http://elsewhere/v2",
  ];
  if (random.below(2) === 0) return compose(random, "GET", pick(random, gets), "");
  const posts: [string, string][] = [
    [`/v2/models/${model}/infer`, inferBody(random, model)],
    [`/v2/models/${model}/infer`, inferBody(random, model)],
    [`/v2/models/${model}/infer`, "[".repeat(random.below(MAX_BODY_BYTES))],
    ["/v2/repository/index", '{"ready": true}'],
    ["/v2/repository/index", "null"],
    [`/v2/repository/models/${unknown}/load`, '{"parameters": {"copies": 1e9}}'],
    [`/v2/repository/models/${unknown}/unload`, "{}"],
  ];
  const [path, body] = pick(random, posts);
  return compose(random, "POST", path, body);
}

/** A whole request, with headers of which some are wrong. */
function compose(random: Random, method: string, path: string, body: string): Uint8Array {
  const bytes = encoder.encode(body);
  const length = random.below(4) > 0 ? bytes.length : pick<number | string>(random, [
    0,
    bytes.length + 1,
    Math.max(0, bytes.length - 1),
    2 ** 40,
    "-1",
    "1, 2",
    "x",
  ]);
  const odd = [
    `Inference-Header-Content-Length: ${pick<number | string>(random, [0, 5, 1e12, "-1", "x"])}`,
    "Content-Encoding: gzip",
    "Content-Encoding: deflate, gzip, br",
    "Content-Type: image/png",
    "Accept-Encoding: gzip",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Upgrade: websocket\r\nConnection: Upgrade",
    "x-slo-ms: -5",
    "x-slo-ms: 1e400",
    "Authorization: Bearer nobody",
    "Origin: http://elsewhere",
    `x-request-id: ${"x".repeat(random.below(9000))}`,
    ":",
    "a: \u0001",
  ];
  const lines = [
    `${
      pick(random, [method, method, method, "PUT", "HEAD", "get", "X".repeat(100)])
    } ${path} HTTP/1.1`,
    `Host: ${pick(random, ["localhost", "localhost", "localhost", "a|b", "%", "", "elsewhere"])}`,
    ...(method === "GET" && random.below(2) === 0 ? [] : [`Content-Length: ${length}`]),
    ...Array.from({ length: random.below(3) }, () => pick(random, odd)),
    ...(random.below(50) === 0 ? Array.from({ length: 300 }, (_, i) => `x-${i}: ${i}`) : []),
  ];
  const head = encoder.encode(lines.join("\r\n") + "\r\n\r\n");
  const whole = new Uint8Array(head.length + bytes.length);
  whole.set(head);
  whole.set(bytes, head.length);
  return whole;
}

/** What a client might send on one connection: up to `maxRequests`, of which the last may be cut or changed. */
export function fuzzedHttp(
  random: Random,
  models: readonly string[],
  maxRequests: number,
): Conversation {
  const count = 1 + random.below(maxRequests);
  const parts = Array.from({ length: count }, () => request(random, models));
  const last = parts.pop()!;
  const change = random.below(4);
  if (change === 0) parts.push(last.subarray(0, random.below(last.length)));
  else {
    for (let i = change === 1 ? 1 + random.below(8) : 0; i > 0; i--) {
      last[random.below(last.length)]! ^= 1 << random.below(8);
    }
    parts.push(last);
  }
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return { bytes, frames: count };
}

function pick<T>(random: Random, values: readonly T[]): T {
  return values[random.below(values.length)]!;
}
