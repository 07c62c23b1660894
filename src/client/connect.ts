/** Clients over TCP. */
import { type Clock, SECOND } from "../core/clock.ts";
import { Random } from "../core/random.ts";
import { SystemClock } from "../core/system_clock.ts";
import { type Address, connect as connectLink, parseAddress } from "../wire/tcp.ts";
import { Client, type ClientOptions } from "./client.ts";
import type { Dialer } from "./dialer.ts";
import { ClockworkClient } from "./promises.ts";

/** The default port on which a controller listens for clients. */
export const CONTROLLER_PORT = 12346;
/** How long to try to reconnect by default, in nanoseconds. */
export const DEFAULT_RECONNECT_NS = 30 * SECOND;
/** How long a controller may take to say Hello after reconnecting. */
const HELLO_NS = 5 * SECOND;

export interface ConnectOptions extends Omit<ClientOptions, "reconnect"> {
  /**
   * How long to try to reconnect when the connection is lost, in nanoseconds: 0 for not at all, Infinity
   * for ever; {@link DEFAULT_RECONNECT_NS} by default.
   */
  readonly reconnectNs?: number;
}

/**
 * Connects to a controller, `HOST[:PORT]`. The program does not end until `close` has been called.
 *
 * @example
 * ```ts
 * const clockwork = await connect("127.0.0.1");
 * const [model] = await clockwork.loadModel("resnet50_v2");
 * await clockwork.ready();
 * const output = await clockwork.infer(model, input, { deadlineNs: 100 * MS });
 * await clockwork.close();
 * ```
 * @throws {RangeError} if that is not an address.
 * @throws {Error} naming the address, if nothing listens there, or not a controller.
 */
export async function connect(
  address: string,
  options: ConnectOptions = {},
): Promise<ClockworkClient> {
  const parsed = parseAddress(address, CONTROLLER_PORT);
  const clock = new SystemClock();
  try {
    const client = await connectClient(parsed, clock, options);
    return new ClockworkClient(client.callbacks, () => clock.close());
  } catch (error) {
    clock.close();
    throw error;
  }
}

/**
 * Connects to a controller over TCP, with a clock of the caller's; resolves when it has said Hello.
 *
 * @throws {Error} naming the address, if nothing listens there, or not a controller.
 */
export async function connectClient(
  address: Address,
  clock: Clock,
  { reconnectNs = DEFAULT_RECONNECT_NS, ...options }: ConnectOptions = {},
): Promise<ClockworkClient> {
  const dialer = tcpDialer(address, clock, options);
  const random = Random.ofState(crypto.getRandomValues(new Uint32Array(4)));
  const reconnect = { dialer, random, limitNs: reconnectNs };
  const clientOptions = reconnectNs > 0 ? { ...options, reconnect } : options;
  return await new Promise((resolve, reject) => {
    dialer.dial((link) => {
      const client = new Client(link, clock, clientOptions);
      resolve(new ClockworkClient(client));
      return client;
    }, (reason) => reject(new Error(reason)));
  });
}

function tcpDialer(address: Address, clock: Clock, { token, tls }: ClientOptions): Dialer {
  const options = {
    role: "client",
    peerRoles: ["controller"],
    // The client itself refuses requests when too many bytes wait, rather than lose the connection.
    maxQueuedBytes: Infinity,
    helloNs: HELLO_NS,
    ...(token === undefined ? {} : { token }),
    ...(tls === undefined ? {} : { tls }),
  } as const;
  return {
    dial: (accept, failed) => {
      const abort = new AbortController();
      const { signal } = abort;
      connectLink(address, clock, { ...options, signal }, accept).catch((error) => {
        if (!signal.aborted) failed((error as Error).message);
      });
      return { cancel: () => abort.abort() };
    },
  };
}
