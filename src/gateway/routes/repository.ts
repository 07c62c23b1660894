/** Loading and unloading models: Triton's model repository extension. */
import type { Context, Hono } from "hono";
import type { Client } from "../../client/client.ts";
import type { Failure, Result } from "../../client/result.ts";
import { MS, SECOND } from "../../core/clock.ts";
import { RequestStatus } from "../../core/status.ts";
import { MAX_MODELS, MAX_PATH_LENGTH } from "../../wire/messages.ts";
import { index } from "../describe.ts";
import { httpErrorOf } from "../failures.ts";
import type { GatewayContext } from "../gateway.ts";
import type { GatewayEnv } from "../guards.ts";
import { HttpError } from "../http_error.ts";
import { json, route } from "./route.ts";

/** How long a load waits for the controller to serve what it has loaded. */
const SERVING_LIMIT_NS = 10 * SECOND;
const SERVING_CHECK_NS = 100 * MS;

export function repositoryRoutes(app: Hono<GatewayEnv>, context: GatewayContext): void {
  const { upstream } = context;
  route(app, "POST", "/v2/repository/index", async (c) => {
    const { ready } = await optionalJson(context, c);
    await upstream.refresh();
    return json(index(upstream.models, ready === true));
  });
  route(app, "POST", "/v2/repository/models/:name/load", async (c) => {
    const copies = copiesOf(await optionalJson(context, c));
    const name = c.req.param("name") ?? "";
    await load(context, name, copies);
    const model = await upstream.find(name);
    return json({ name: model.name, copies: model.copies });
  });
  route(app, "POST", "/v2/repository/models/:name/unload", async (c) => {
    await optionalJson(context, c);
    const { client } = upstream;
    const model = await upstream.find(c.req.param("name") ?? "");
    const copies = model.groups().filter(({ status }) => status !== "unloading");
    const results = await Promise.all(
      copies.map((group) =>
        settled<void>((done) => client.unloadModels(group.id, group.copies, done))
      ),
    );
    await upstream.refresh();
    const failure = results.find((result) => !result.ok);
    if (failure !== undefined && !failure.ok) throw loadError(failure, client);
    return json({ name: model.name, copies: 0 });
  });
}

/** Makes sure that there are so many copies of a model. */
async function load(context: GatewayContext, name: string, copies: number): Promise<void> {
  const { clock, upstream } = context;
  const { client } = upstream;
  await upstream.refresh();
  const known = upstream.models.get(name);
  const missing = copies - (known?.copies ?? 0);
  if (missing > 0) {
    const path = known?.description.path ?? checkedName(name);
    const result = await settled<unknown>((done) => client.loadModel(path, missing, done));
    if (!result.ok) throw loadError(result, client);
    await upstream.refresh();
  }
  // The first models are served a second after the last of them has been loaded.
  const limitNs = clock.now() + SERVING_LIMIT_NS;
  while (upstream.state === "initializing" && clock.now() < limitNs) {
    await new Promise<void>((resolve) => clock.at(clock.now() + SERVING_CHECK_NS, resolve));
    await upstream.refresh();
  }
}

function settled<T>(ask: (done: (result: Result<T>) => void) => void): Promise<Result<T>> {
  return new Promise((resolve) => ask(resolve));
}

function loadError(failure: Failure, client: Client): HttpError {
  // Workers say only that they could not: most often, that there is no such model.
  return failure.from === "controller" && failure.status === RequestStatus.error
    ? new HttpError(400, failure.message)
    : httpErrorOf(failure, false, client.closedBecause === null);
}

/** A name that may be a path below the workers' model directory, and leads nowhere else. */
function checkedName(name: string): string {
  const parts = name.split(/[/\\]/);
  const safe = name.length <= MAX_PATH_LENGTH && !/\p{Cc}/u.test(name) &&
    parts.every((part) => part !== "" && part !== "." && part !== "..") && !/^[a-z]:/i.test(name);
  if (safe) return name;
  throw new HttpError(
    400,
    `"${
      name.slice(0, 100)
    }" is not a name of a model: expected one of the workers' model directory`,
  );
}

type Json = Readonly<Record<string, unknown>>;

async function optionalJson(
  { bodies }: GatewayContext,
  c: Context<GatewayEnv>,
): Promise<Json> {
  return await bodies.with(c.req.raw, (body) => {
    if (body.length === 0) return {};
    let value: unknown;
    try {
      value = JSON.parse(body.text(0, body.length));
    } catch (error) {
      throw new HttpError(400, `the request is not JSON: ${(error as Error).message}`);
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new HttpError(400, "the request must be a JSON object");
    }
    return value as Json;
  });
}

function copiesOf({ parameters }: Json): number {
  const given = (parameters ?? {}) as Json;
  const unknown = Object.keys(given).find((key) => key !== "copies");
  if (unknown !== undefined) {
    throw new HttpError(
      400,
      `the parameter "${
        unknown.slice(0, 100)
      }" is not supported: models and their configuration are ` +
        "files that workers have",
    );
  }
  const { copies = 1 } = given;
  if (Number.isInteger(copies) && copies as number >= 1 && copies as number <= MAX_MODELS) {
    return copies as number;
  }
  throw new HttpError(400, `the parameter copies must be an integer from 1 to ${MAX_MODELS}`);
}
