import type { Clock } from "../core/clock.ts";
import { type Address, connect } from "../wire/tcp.ts";
import { Client, type ClientOptions } from "./client.ts";
import { ClockworkClient } from "./promises.ts";

/**
 * Connects to a controller over TCP; resolves when it has said that it is one.
 *
 * @example
 * ```ts
 * const clock = new SystemClock();
 * const clockwork = await connectClient(parseAddress("127.0.0.1", 12346), clock);
 * const [model] = await clockwork.loadModel("resnet50_v2/model");
 * const output = await clockwork.infer(model!, input, { deadlineNs: 100 * MS });
 * await clockwork.close();
 * clock.close();
 * ```
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
  await connect(address, clock, role, (link) => client = new Client(link, clock, options));
  return new ClockworkClient(client!);
}
