/**
 * The HTTP front door: the Open Inference Protocol, version 2, with those of Triton's extensions that its
 * clients use. It gets requests and a connection to the controller, and knows nothing of sockets: the
 * listener calls {@link Gateway.fetch}.
 */
import { Hono } from "hono";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { BodyReader } from "./body.ts";
import { accessGuard, commonHeaders, type GatewayEnv, limitGuard } from "./guards.ts";
import { compressResponses } from "./compression.ts";
import { dashboardRoutes } from "./dashboard/routes.ts";
import { Watch } from "./dashboard/watch.ts";
import { HttpError } from "./http_error.ts";
import { DEFAULT_GATEWAY_LIMITS, type GatewayLimits } from "./options.ts";
import { inferenceRoutes } from "./routes/inference.ts";
import { modelRoutes } from "./routes/models.ts";
import { repositoryRoutes } from "./routes/repository.ts";
import { serverRoutes } from "./routes/server.ts";
import { Statistics } from "./statistics.ts";
import { type Connect, Upstream } from "./upstream.ts";

/** What came of a request to a model, for whoever counts them. */
export interface InferenceRecord {
  readonly model: string;
  readonly version: string;
  readonly httpStatus: number;
  /** Requests to the controller: the size of the batch. */
  readonly batchSize: number;
  /** From the body's having come to the answer, in nanoseconds. */
  readonly durationNs: number;
}

/** A request for an inference that is traced. */
export interface InferenceTrace {
  /** Its W3C trace context, for the controller. */
  readonly traceparent: string;
  /** The request has been answered. */
  end(httpStatus: number): void;
}

export interface GatewayOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Milliseconds since 1970, now. */
  readonly epochMs: () => number;
  readonly connect: Connect;
  /** What clients must say to be served; null: nothing. */
  readonly token: string | null;
  /**
   * Whether clients may name this gateway as they like. If not, as localhost or by address only: the owner
   * of a web page can have a name lead to this machine, and browsers take the gateway for a part of the
   * page's site then.
   */
  readonly anyHost: boolean;
  /** From which other origins' pages browsers may ask; null: none, "*": all. */
  readonly cors: string | null;
  readonly limits?: GatewayLimits;
  /** Of this program. */
  readonly version: string;
  readonly onInference?: (record: InferenceRecord) => void;
  /** Begins to trace a request for an inference; null: this one is not traced. */
  readonly trace?: (model: string, version: string) => InferenceTrace | null;
}

/** What routes need. */
export interface GatewayContext extends GatewayOptions {
  readonly limits: GatewayLimits;
  readonly upstream: Upstream;
  readonly bodies: BodyReader;
  readonly statistics: Statistics;
  /** Whether it takes no more requests. */
  readonly draining: () => boolean;
}

export class Gateway {
  readonly #upstream: Upstream;
  readonly #app: Hono<GatewayEnv>;
  readonly #watch: Watch;
  readonly #bodies: BodyReader;
  #pending = 0;
  #draining = false;

  constructor(options: GatewayOptions) {
    const { clock, log, connect, limits = DEFAULT_GATEWAY_LIMITS } = options;
    this.#upstream = new Upstream(clock, log, connect);
    this.#bodies = new BodyReader(clock, limits);
    this.#watch = new Watch(clock, this.#upstream);
    const context: GatewayContext = {
      ...options,
      limits,
      upstream: this.#upstream,
      bodies: this.#bodies,
      statistics: new Statistics(),
      draining: () => this.#draining,
    };
    const app = this.#app = new Hono<GatewayEnv>();
    app.use(commonHeaders(context));
    app.use(accessGuard(context));
    app.use(compressResponses);
    app.use(limitGuard(context, () => this.#pending));
    serverRoutes(app, context);
    modelRoutes(app, context);
    inferenceRoutes(app, context);
    repositoryRoutes(app, context);
    dashboardRoutes(app, this.#watch);
    app.notFound((c) =>
      c.json({
        error: `there is no ${c.req.path.slice(0, 200)}; /openapi.json lists what there is`,
      }, 404)
    );
    app.onError((error) => answerTo(error, log));
  }

  /** Further routes may be added before the first request: they are behind the same guards. */
  get app(): Hono<GatewayEnv> {
    return this.#app;
  }

  get upstream(): Upstream {
    return this.#upstream;
  }

  /** Requests that have not been answered. */
  get pending(): number {
    return this.#pending;
  }

  /** Pages of the dashboard that are open. */
  get dashboards(): number {
    return this.#watch.opened;
  }

  /** Begins to connect to the controller; resolves when it has been tried once. */
  start(): Promise<void> {
    return this.#upstream.start();
  }

  /** Answers one request, whatever it is. */
  readonly fetch = async (request: Request): Promise<Response> => {
    this.#pending++;
    try {
      const response = await this.#app.fetch(request);
      if (response.status >= 400) await this.#bodies.discard(request);
      return response;
    } finally {
      this.#pending--;
    }
  };

  /** Refuses new requests; those that it has go on, see {@link pending}. */
  drain(): void {
    this.#draining = true;
    this.#watch.close();
  }

  close(): void {
    this.#watch.close();
    this.#upstream.close();
  }
}

function answerTo(error: Error, log: Log): Response {
  if (error instanceof HttpError) {
    return Response.json({ error: error.message }, {
      status: error.status,
      headers: error.headers,
    });
  }
  log(`error while serving a request: ${error.stack ?? error.message}`);
  return Response.json({ error: "internal error" }, { status: 500 });
}
