/** `controller --http`: a gateway in a thread of the controller's process. */
import type { Command } from "commander";
import type { Controller } from "../../controller/controller.ts";
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import { DEFAULT_GATEWAY_LIMITS } from "../../gateway/options.ts";
import { type Address, listen, type Listener } from "../../wire/tcp.ts";
import type { GatewayConfig } from "./server.ts";
import { addHttpOptions, type HttpOptions, readHttpAccess } from "./options.ts";
import { HttpThread } from "./http_thread.ts";
import { parseListenAddress } from "../options/parse.ts";

export interface ControllerHttpOptions extends HttpOptions {
  readonly http?: Address;
  readonly insecure: boolean;
  readonly drain: number;
}

export function addControllerHttpOptions(command: Command): Command {
  command.option(
    "--http <address>",
    "serve models over HTTP too, on [HOST:]PORT; HOST is 127.0.0.1 unless given",
    parseListenAddress,
  );
  return addHttpOptions(command);
}

export interface ControllerHttp {
  /** Finishes the requests that came over HTTP, and ends. */
  close(): Promise<void>;
}

/**
 * Starts the gateway, if the options ask for one; resolves when it serves.
 *
 * It is a client of the controller like any other, but by a way of its own: a port of this machine that
 * takes a token made up now. So it works whatever address, token and certificates others have to use.
 *
 * @throws {UsageError} when others could use it without a token.
 * @throws {CliError} when it cannot listen.
 */
export async function serveHttp(
  clock: Clock,
  log: Log,
  options: ControllerHttpOptions,
  controller: Controller,
): Promise<ControllerHttp | null> {
  if (options.http === undefined) return null;
  const access = readHttpAccess(options, options.http, options.insecure);
  const secret = crypto.randomUUID() + crypto.randomUUID();
  const inner = listenForThread(clock, log, secret, controller);
  const config: GatewayConfig = {
    controller: inner.address,
    credentials: { token: secret, tls: null },
    listen: options.http,
    ...access,
    cors: options.cors ?? null,
    limits: DEFAULT_GATEWAY_LIMITS,
    userId: 0,
    drainNs: options.drain,
  };
  try {
    const thread = await HttpThread.start(clock, log, config);
    return {
      close: async () => {
        await thread.close();
        inner.close();
      },
    };
  } catch (error) {
    inner.close();
    throw error;
  }
}

function listenForThread(
  clock: Clock,
  log: Log,
  token: string,
  controller: Controller,
): Listener {
  return listen({ hostname: "127.0.0.1", port: 0 }, clock, {
    role: "controller",
    peerRoles: ["client"],
    access: { token, insecure: false },
    onRefused: (peer, reason) => log(`${peer} was refused on the HTTP thread's port: ${reason}`),
  }, (link) => controller.acceptClient(link));
}
