/** A listening gateway, as run by `clockwork gateway` and by the thread of `controller --http`. */
import config from "../../../deno.json" with { type: "json" };
import { connectClient } from "../../client/connect.ts";
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import { Gateway } from "../../gateway/gateway.ts";
import type { GatewayLimits } from "../../gateway/options.ts";
import { type Address, formatAddress } from "../../wire/tcp.ts";
import { GatewayMetrics } from "../../telemetry/metrics/gateway_metrics.ts";
import { asPeer, type Credentials } from "../options/access.ts";
import { drained } from "../drain.ts";
import { CliError } from "../exit.ts";
import { ownProcessMetrics } from "../metrics_server.ts";
import type { Tracing } from "../tracing.ts";

/** All that a gateway is told. Nothing but data, so that it can be sent to a thread. */
export interface GatewayConfig {
  readonly controller: Address;
  /** For the controller. */
  readonly credentials: Credentials;
  readonly listen: Address;
  /** What clients must say; null: nothing. */
  readonly token: string | null;
  /** Whether clients may name the gateway as they like. */
  readonly anyHost: boolean;
  readonly cors: string | null;
  readonly limits: GatewayLimits;
  /** Whose requests these are, for the controller's limits and logs. */
  readonly userId: number;
  /** How long requests may take to end when the gateway is to. */
  readonly drainNs: number;
}

export interface GatewayServer {
  readonly gateway: Gateway;
  readonly address: Address;
  /** Finishes what it has, and closes. */
  close(): Promise<void>;
}

/**
 * Listens, and connects to the controller; that it may not be there yet is no error.
 * @throws {CliError} when the address cannot be listened on.
 */
export function serveGateway(
  clock: Clock,
  log: Log,
  config: GatewayConfig,
  tracing: Tracing | null,
): GatewayServer {
  const metrics = new GatewayMetrics(() => ({
    pending: gateway.pending,
    connected: gateway.upstream.state !== "away",
    dashboards: gateway.dashboards,
  }));
  const gateway: Gateway = makeGateway(clock, log, config, metrics, tracing);
  serveMetrics(clock, gateway, metrics);
  const server = listen(config.listen, log, async (request) => {
    const startNs = clock.now();
    const response = await gateway.fetch(request);
    metrics.onAnswer(response.status, clock.now() - startNs);
    return response;
  });
  void gateway.start();
  return {
    gateway,
    address: server.addr,
    close: async () => {
      gateway.drain();
      // Before it closes to new connections, so that those which come until then are told why.
      await drained(clock, config.drainNs, "HTTP requests", () => gateway.pending, log);
      gateway.close();
      // Connections that are kept alive would hold it up for ever.
      const closed = server.shutdown().catch(() => {});
      const limit = new Promise<void>((resolve) => clock.at(clock.now() + CLOSE_NS, resolve));
      await Promise.race([closed, limit]);
    },
  };
}

/** How long answers may take to leave, and clients to hang up. */
const CLOSE_NS = 1e9;

/** At the gateway's own address, to those who may ask it other things. */
function serveMetrics(clock: Clock, gateway: Gateway, metrics: GatewayMetrics): void {
  const all = [...ownProcessMetrics(clock, "gateway"), ...metrics.metrics()];
  // Loaded when somebody wants it.
  const loading = lazy(async () => {
    const { Exposition } = await import("../../telemetry/metrics/exposition.ts");
    return new Exposition(all);
  });
  gateway.app.get("/metrics", async () => {
    const exposition = await loading();
    return new Response(await exposition.read(), {
      headers: { "content-type": exposition.contentType },
    });
  });
}

function lazy<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null;
  return () => made ??= make();
}

function makeGateway(
  clock: Clock,
  log: Log,
  options: GatewayConfig,
  metrics: GatewayMetrics,
  tracing: Tracing | null,
): Gateway {
  const { controller, credentials, userId, token, anyHost, cors, limits } = options;
  return new Gateway({
    clock,
    log,
    epochMs: () => Date.now(),
    connect: async (onLost) => {
      const client = await connectClient(controller, clock, {
        userId,
        onLost,
        // What is there must be asked for anew; the gateway does both itself.
        reconnectNs: 0,
        ...asPeer(credentials),
      });
      return client.callbacks;
    },
    token,
    anyHost,
    cors,
    limits,
    version: config.version,
    onInference: (record) => metrics.onInference(record),
    ...(tracing === null
      ? {}
      : { trace: (model: string, version: string) => tracing.inference(model, version) }),
  });
}

function listen(
  address: Address,
  log: Log,
  handle: (request: Request) => Promise<Response>,
): Deno.HttpServer<Deno.NetAddr> {
  const { hostname, port } = address;
  try {
    return Deno.serve({
      hostname,
      port,
      onListen: () => {},
      onError: (error) => {
        log(`error while serving HTTP: ${String(error)}`);
        return Response.json({ error: "internal error" }, { status: 500 });
      },
    }, handle);
  } catch (error) {
    const where = formatAddress(address);
    throw new CliError(
      error instanceof Deno.errors.AddrInUse
        ? `cannot serve HTTP on ${where}: the port is in use; stop the other program or choose another port`
        : `cannot serve HTTP on ${where}: ${(error as Error).message}`,
    );
  }
}
