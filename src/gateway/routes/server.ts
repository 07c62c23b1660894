/** Information about the server itself. */
import type { Hono } from "hono";
import type { GatewayContext } from "../gateway.ts";
import type { GatewayEnv } from "../guards.ts";
import { openApi } from "../openapi.ts";
import { json, route } from "./route.ts";

/** Triton's names of what goes beyond the protocol. */
const EXTENSIONS = ["binary_tensor_data", "model_repository", "model_configuration", "statistics"];

export function serverRoutes(app: Hono<GatewayEnv>, context: GatewayContext): void {
  const { upstream, version, token, draining } = context;
  route(app, "GET", "/v2", () => json({ name: "clockwork", version, extensions: EXTENSIONS }));
  route(app, "GET", "/v2/health/live", () => json({ live: true }));
  route(app, "GET", "/v2/health/ready", () => {
    const ready = upstream.state === "serving" && !draining();
    return json({ ready, controller: upstream.state }, ready ? 200 : 503);
  });
  const document = openApi(version, token !== null);
  route(app, "GET", "/openapi.json", () => json(document));
}
