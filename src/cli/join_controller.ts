/** Connects a worker to its controller, and reconnects whenever the connection is lost. */
import { type Clock, MS, SECOND } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Accept } from "../wire/link.ts";
import { type Address, connect, formatAddress } from "../wire/tcp.ts";
import { asPeer, type Credentials } from "./options/access.ts";
import type { StopSignals } from "./stop_signals.ts";

/** Pause before the controller is tried again: doubled after each failure, up to the second. */
const FIRST_RETRY_NS = 100 * MS;
const LAST_RETRY_NS = SECOND / 2;

/** Keeps a connection to a controller until the process is told to stop. */
export function joinController(
  address: Address,
  clock: Clock,
  stop: StopSignals,
  log: Log,
  accept: Accept,
  credentials: Credentials,
): void {
  const name = formatAddress(address);
  let problem = "";
  const later = (pauseNs: number) => {
    if (stop.requested) return;
    clock.at(clock.now() + pauseNs, () => {
      if (!stop.requested) attempt(pauseNs);
    });
  };
  const attempt = (pauseNs: number) => {
    const options = { role: "worker", peerRoles: ["controller"] } as const;
    connect(address, clock, { ...options, ...asPeer(credentials) }, (link) => {
      const handler = accept(link);
      problem = "";
      log(`Joined controller ${name}`);
      return {
        onMessage: (message) => handler.onMessage(message),
        onClose: (reason) => {
          handler.onClose(reason);
          later(FIRST_RETRY_NS);
        },
      };
    }).catch((error) => {
      const { message } = error as Error;
      // Said once, however often it is tried.
      if (message !== problem) log(`${message}; it is tried again until it is there`);
      problem = message;
      later(Math.min(2 * pauseNs, LAST_RETRY_NS));
    });
  };
  attempt(FIRST_RETRY_NS);
}
