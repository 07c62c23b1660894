/** Information about a model. */
import type { Hono } from "hono";
import { config, metadata } from "../describe.ts";
import type { GatewayContext } from "../gateway.ts";
import type { GatewayEnv } from "../guards.ts";
import { HttpError } from "../http_error.ts";
import type { NamedModel, Version } from "../models.ts";
import { toJson } from "../statistics.ts";
import { json, modelRoute, route } from "./route.ts";

/** Versions whose statistics one answer has. */
const MAX_STATISTICS = 10_000;

export function modelRoutes(app: Hono<GatewayEnv>, context: GatewayContext): void {
  const { upstream, limits, statistics } = context;
  const find = async (name: string, version: string | null) => {
    const model = await upstream.find(name);
    return { model, version: version === null ? null : versionOf(model, version) };
  };

  const statsOf = function* (models: Iterable<NamedModel>) {
    for (const model of models) {
      for (const { version } of model.versions()) {
        yield toJson(model.name, version, statistics.of(model.name, version));
      }
    }
  };
  // Before the route of one model's metadata, which would take "stats" for a name.
  route(
    app,
    "GET",
    "/v2/models/stats",
    () => json({ model_stats: statsOf(upstream.models).take(MAX_STATISTICS).toArray() }),
  );

  modelRoute(app, "GET", "", async (_, name, wanted) => {
    const { model, version } = await find(name, wanted);
    return json(metadata(model, version));
  });
  modelRoute(app, "GET", "/config", async (_, name, wanted) => {
    const { model } = await find(name, wanted);
    return json(config(model, limits.maxBatchSize));
  });
  modelRoute(app, "GET", "/ready", async (_, name, wanted) => {
    const { model, version } = await find(name, wanted);
    const ready = upstream.state === "serving" && (version ?? model.any).status === "ready";
    return json({ name: model.name, ready }, ready ? 200 : 503);
  });
  modelRoute(app, "GET", "/stats", async (_, name, wanted) => {
    const { model, version } = await find(name, wanted);
    const stats = version === null
      ? statsOf([model]).take(MAX_STATISTICS).toArray()
      : [toJson(model.name, version.version, statistics.of(model.name, version.version))];
    return json({ model_stats: stats });
  });
}

/** @throws {HttpError} 404 */
export function versionOf(model: NamedModel, version: string): Version {
  const found = model.version(version);
  if (found !== null) return found;
  throw new HttpError(
    404,
    `model "${model.name}" has no version "${
      version.slice(0, 32)
    }": versions are the ids of its copies`,
  );
}
