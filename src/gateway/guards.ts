/** Checks that every request must pass: who may send it, from where, and how many at a time. */
import type { MiddlewareHandler } from "hono";
import { sameSecret } from "../wire/access.ts";
import { pageFiles } from "./dashboard/files.ts";
import type { GatewayContext } from "./gateway.ts";
import { HttpError } from "./http_error.ts";

/** Of the requests of this app: nothing is kept in their contexts. */
export type GatewayEnv = Record<string, never>;

/**
 * Served to anybody: whatever watches over processes has no token, and the dashboard's page, which tells
 * nothing by itself, has to ask for it first.
 */
const OPEN_PATHS: ReadonlySet<string> = new Set([
  "/v2/health/live",
  "/v2/health/ready",
  ...pageFiles.keys(),
]);

/** Longest request id that is repeated, in characters. */
const MAX_REQUEST_ID_LENGTH = 256;

/** What all answers have, whatever comes of the request: its id, and that pages of an origin may read it. */
export function commonHeaders({ cors }: GatewayContext): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    await next();
    const id = c.req.header("x-request-id");
    if (id !== undefined && id.length <= MAX_REQUEST_ID_LENGTH) c.header("x-request-id", id);
    if (mayRead(cors, c.req.header("origin"))) {
      c.header("access-control-allow-origin", cors!);
      c.header("access-control-expose-headers", "inference-header-content-length, x-request-id");
      if (cors !== "*") c.header("vary", "origin", { append: true });
    }
  };
}

function mayRead(cors: string | null, origin: string | undefined): boolean {
  return origin !== undefined && (cors === "*" || cors === origin);
}

/** Lets those in who may ask, and tells browsers beforehand what pages may. */
export function accessGuard(
  { token, anyHost, cors }: GatewayContext,
): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    const { method, path } = c.req;
    const origin = c.req.header("origin");
    const allowed = mayRead(cors, origin);
    if (method === "OPTIONS" && allowed) {
      return new Response(null, { status: 204, headers: preflightHeaders(c.req.raw) });
    }
    const problem = originProblem(method, origin, allowed, c.req.header("host")) ??
      (anyHost ? null : hostProblem(c.req.url)) ??
      (OPEN_PATHS.has(path) ? null : tokenProblem(token, c.req.header("authorization")));
    if (problem !== null) {
      const [status, message] = problem;
      throw new HttpError(status, message, status === 401 ? { "www-authenticate": "Bearer" } : {});
    }
    await next();
    return undefined;
  };
}

type Problem = readonly [status: number, message: string];

/** A page that a person happens to look at must not be able to load models, or to take the GPUs. */
function originProblem(
  method: string,
  origin: string | undefined,
  allowed: boolean,
  host: string | undefined,
): Problem | null {
  if (origin === undefined || allowed || method === "GET" || method === "HEAD") return null;
  if (URL.canParse(origin) && new URL(origin).host === host) return null;
  return [403, "pages of other origins may not ask: see --cors"];
}

function hostProblem(requestUrl: string): Problem | null {
  // Made of the Host header, which may be anything.
  const url = URL.parse(requestUrl);
  if (url === null) return [400, "the Host header names no host"];
  const { hostname } = url;
  const isAddress = /^[\d.]+$/.test(hostname) || hostname.startsWith("[");
  if (hostname === "localhost" || isAddress) return null;
  return [
    403,
    `without a token this gateway answers as localhost or by its address, not as ${
      hostname.slice(0, 100)
    }: give clients a token, or start it with --insecure`,
  ];
}

function tokenProblem(token: string | null, authorization: string | undefined): Problem | null {
  if (token === null) return null;
  const told = /^Bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
  if (told === undefined) {
    return [401, "this gateway asks for a token: send Authorization: Bearer TOKEN"];
  }
  return sameSecret(token, told) ? null : [401, "the token is not the right one"];
}

function preflightHeaders(request: Request): Record<string, string> {
  const asked = request.headers.get("access-control-request-headers");
  return {
    "access-control-allow-methods": "GET, POST",
    "access-control-max-age": "600",
    ...(asked === null ? {} : { "access-control-allow-headers": asked.slice(0, 1024) }),
  };
}

/** Refuses what comes when there is too much already, or the end has come. */
export function limitGuard(
  { limits, draining }: GatewayContext,
  pending: () => number,
): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    if (!OPEN_PATHS.has(c.req.path)) {
      if (draining()) {
        throw new HttpError(503, "the gateway is shutting down", {
          connection: "close",
          "retry-after": "1",
        });
      }
      if (pending() > limits.maxRequests) {
        throw new HttpError(
          429,
          `${limits.maxRequests} requests are being served, the most this gateway allows`,
          { "retry-after": "1" },
        );
      }
    }
    await next();
  };
}
