import type { Context, Hono } from "hono";
import type { GatewayEnv } from "../guards.ts";
import { HttpError } from "../http_error.ts";

export type Handler = (c: Context<GatewayEnv>) => Response | Promise<Response>;

/** Answers one method of a path, and says so to those that try another. */
export function route(
  app: Hono<GatewayEnv>,
  method: "GET" | "POST",
  path: string,
  handler: Handler,
): void {
  app.on(method, path, handler);
  app.all(path, (c) => {
    throw new HttpError(405, `${c.req.method} is not possible here, but ${method} is`, {
      allow: method === "GET" ? "GET, HEAD" : method,
    });
  });
}

/** Both forms of a path of a model: with and without a version. */
export function modelRoute(
  app: Hono<GatewayEnv>,
  method: "GET" | "POST",
  rest: string,
  handler: (c: Context<GatewayEnv>, name: string, version: string | null) => Promise<Response>,
): void {
  const handle: Handler = (c) =>
    handler(c, c.req.param("name") ?? "", c.req.param("version") ?? null);
  route(app, method, `/v2/models/:name${rest}`, handle);
  route(app, method, `/v2/models/:name/versions/:version${rest}`, handle);
}

/** A JSON answer that says how long it is, so that it may be compressed. */
export function json(value: unknown, status = 200): Response {
  const body = new TextEncoder().encode(JSON.stringify(value));
  return new Response(body, {
    status,
    headers: { "content-type": "application/json", "content-length": String(body.length) },
  });
}
