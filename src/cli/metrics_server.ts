/** Serves a node's metrics over HTTP, for Prometheus. */
import { Option } from "commander";
import process from "node:process";
import config from "../../deno.json" with { type: "json" };
import type { Clock } from "../core/clock.ts";
import type { Exposition } from "../telemetry/metrics/exposition.ts";
import type { Metric } from "../telemetry/metrics/metric.ts";
import { type ProcessFacts, processMetrics } from "../telemetry/metrics/process_metrics.ts";
import { type Access, addressRefusal, isLocal, sameSecret } from "../wire/access.ts";
import { type Address, formatAddress } from "../wire/tcp.ts";
import { CliError } from "./exit.ts";
import { parseListenAddress } from "./options/parse.ts";
import { watchPauses } from "./pauses.ts";

export interface MetricsOptions {
  readonly metrics?: Address;
}

/** The option of every role that serves metrics. */
export function metricsOption(): Option {
  return new Option(
    "--metrics <address>",
    "serve metrics for Prometheus over HTTP, on [HOST:]PORT; HOST is 127.0.0.1 unless given",
  ).argParser(parseListenAddress);
}

/** The metrics of a process, by what Deno tells of it. */
export function ownProcessMetrics(
  clock: Clock,
  role: string,
  pauses = watchPauses(clock),
): Metric[] {
  const facts = (): ProcessFacts => {
    const { rss, heapUsed } = Deno.memoryUsage();
    const { user, system } = process.cpuUsage();
    return {
      residentBytes: rss,
      heapBytes: heapUsed,
      cpuSeconds: (user + system) / 1e6,
      startSeconds: performance.timeOrigin / 1000,
    };
  };
  return processMetrics(clock, config.version, role, facts, pauses);
}

export interface MetricsServer {
  close(): void;
}

/**
 * Answers requests for /metrics. Whoever asks from another machine must say the token, if there is one,
 * as `Authorization: Bearer TOKEN`. `remote` is the address of whoever asks.
 */
export function metricsHandler(
  access: Access,
  exposition: Pick<Exposition, "contentType" | "read">,
): (request: Request, remote: string) => Promise<Response> {
  /** Those who ask at the same time get the same text: reading costs the event loop something. */
  let reading: Promise<string> | null = null;
  const read = () => reading ??= exposition.read().finally(() => reading = null);
  return async (request, remote) => {
    const refusal = refusalOf(access, request, remote);
    if (refusal !== null) return refusal;
    if (URL.parse(request.url)?.pathname !== "/metrics") {
      return plain(404, "metrics are at /metrics");
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return plain(405, "metrics can only be read", { allow: "GET, HEAD" });
    }
    return new Response(await read(), { headers: { "content-type": exposition.contentType } });
  };
}

/**
 * Serves metrics over HTTP until it is closed.
 * @throws {CliError} when the address cannot be listened on.
 */
export async function serveMetrics(
  address: Address,
  access: Access,
  metrics: Iterable<Metric>,
): Promise<MetricsServer> {
  // Loaded by those only who want it.
  const { Exposition } = await import("../telemetry/metrics/exposition.ts");
  const handle = metricsHandler(access, new Exposition(metrics));
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve({
      hostname: address.hostname,
      port: address.port,
      onListen: () => {},
      onError: (error) => {
        console.error("error while serving metrics:", error);
        return plain(500, "internal error");
      },
    }, (request, { remoteAddr }) => handle(request, remoteAddr.hostname));
  } catch (error) {
    const where = formatAddress(address);
    throw new CliError(
      error instanceof Deno.errors.AddrInUse
        ? `cannot serve metrics on ${where}: the port is in use; choose another with --metrics`
        : `cannot serve metrics on ${where}: ${(error as Error).message}`,
    );
  }
  console.log(`Serving metrics at http://${formatAddress(server.addr)}/metrics`);
  return {
    close: () => {
      // What is being answered may end or not: the process is about to.
      server.shutdown().catch(() => {});
    },
  };
}

/** The refusal of a request from another machine, unless it may come; null: it is served. */
function refusalOf(access: Access, request: Request, remote: string): Response | null {
  const local = isLocal("", remote);
  const refused = addressRefusal(access, local);
  if (refused !== null) return plain(403, refused);
  if (local || access.token === null) return null;
  const told = /^Bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
  if (sameSecret(access.token, told)) return null;
  return plain(401, "this node asks for its cluster's token: Authorization: Bearer TOKEN", {
    "www-authenticate": "Bearer",
  });
}

function plain(status: number, message: string, headers: Record<string, string> = {}): Response {
  return new Response(`${message}\n`, {
    status,
    headers: { "content-type": "text/plain; charset=utf-8", ...headers },
  });
}
