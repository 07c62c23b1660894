/** The dashboard over HTTP: the page with its files, and the stream of events that fills it. */
import type { Hono } from "hono";
import type { GatewayEnv } from "../guards.ts";
import { HttpError } from "../http_error.ts";
import { route } from "../routes/route.ts";
import { PAGE_POLICY, type PageFile, pageFiles } from "./files.ts";
import { MAX_STREAMS, type Watch } from "./watch.ts";

export function dashboardRoutes(app: Hono<GatewayEnv>, watch: Watch): void {
  for (const [path, file] of pageFiles) route(app, "GET", path, () => answer(file));
  route(app, "GET", "/dashboard/events", () => {
    const stream = watch.open();
    if (stream === null) {
      throw new HttpError(429, `${MAX_STREAMS} dashboards are open, the most at a time`, {
        "retry-after": "10",
      });
    }
    return new Response(stream, {
      headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
    });
  });
}

function answer({ type, text }: PageFile): Response {
  const body = new TextEncoder().encode(text);
  return new Response(body, {
    headers: {
      "content-type": type,
      "content-length": String(body.length),
      "content-security-policy": PAGE_POLICY,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      // The page and its scripts are of one version: that of the gateway that runs.
      "cache-control": "no-cache",
    },
  });
}
