import type { Clock } from "../core/clock.ts";
import { SystemClock } from "../core/system_clock.ts";
import { type Address, connect as connectLink, parseAddress } from "../wire/tcp.ts";
import { Client, type ClientOptions } from "./client.ts";
import { ClockworkClient } from "./promises.ts";

/** The port on which a controller listens for clients unless told otherwise. */
export const CONTROLLER_PORT = 12346;

/**
 * Connects to a controller, `HOST[:PORT]`, for a program that has nothing else to do with clocks and
 * links. `close` must be called for the program to end by itself.
 *
 * @example
 * ```ts
 * const clockwork = await connect("127.0.0.1");
 * const [model] = await clockwork.loadModel("resnet50_v2");
 * await clockwork.ready();
 * const output = await clockwork.infer(model, input, { deadlineNs: 100 * MS });
 * await clockwork.close();
 * ```
 * @throws {RangeError} when that is not an address.
 * @throws {Error} naming the address when there is nothing to connect to, or no controller.
 */
export async function connect(
  address: string,
  options: ClientOptions = {},
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
 * Connects to a controller over TCP, on a clock of the caller's; resolves when it has said that it is one.
 *
 * @throws {Error} naming the address when there is nothing to connect to, or no controller.
 */
export async function connectClient(
  address: Address,
  clock: Clock,
  options: ClientOptions = {},
): Promise<ClockworkClient> {
  let client: Client | undefined;
  // The client itself refuses requests when too many bytes wait, rather than lose the connection.
  const role = { role: "client", peerRoles: ["controller"], maxQueuedBytes: Infinity } as const;
  const { token, tls } = options;
  const credentials = {
    ...(token === undefined ? {} : { token }),
    ...(tls === undefined ? {} : { tls }),
  };
  await connectLink(
    address,
    clock,
    { ...role, ...credentials },
    (link) => client = new Client(link, clock, options),
  );
  return new ClockworkClient(client!);
}
