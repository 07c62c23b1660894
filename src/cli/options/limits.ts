/** Options of workers and controllers that limit what peers may cost them. */
import { type Command, Option } from "commander";
import { SECOND } from "../../core/clock.ts";
import {
  DEFAULT_HELLO_NS,
  DEFAULT_MAX_QUEUED_BYTES,
  DEFAULT_MESSAGE_NS,
} from "../../wire/connection_options.ts";
import { DEFAULT_FRAME_LIMITS } from "../../wire/frame.ts";
import { SendBudget } from "../../wire/send_budget.ts";
import { DEFAULT_MAX_CONNECTIONS, type ListenOptions } from "../../wire/tcp.ts";
import { parseDuration, parseInteger } from "./parse.ts";

const MIB = 2 ** 20;
const DEFAULT_MAX_UNREAD_TOTAL_MIB = 1024;

export interface LimitOptions {
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress?: number;
  /** In MiB. */
  readonly maxUnread: number;
  /** In MiB. */
  readonly maxUnreadTotal: number;
  /** In nanoseconds. */
  readonly helloTimeout: number;
  /** In nanoseconds. */
  readonly messageTimeout: number;
}

/** Of a node that serves clients. */
export interface ClientLimitOptions extends LimitOptions {
  /** In MiB. */
  readonly maxPayload: number;
  /** In nanoseconds. */
  readonly idleTimeout?: number;
}

export function addLimitOptions(command: Command): Command {
  return command
    .option(
      "--max-connections <n>",
      "connections at a time",
      parseInteger(1, 1e6),
      DEFAULT_MAX_CONNECTIONS,
    )
    .option(
      "--max-connections-per-address <n>",
      "of those, connections from one address (default: all)",
      parseInteger(1, 1e6),
    )
    .option(
      "--max-unread <MiB>",
      "disconnect a peer when more than this is waiting for it to read",
      parseInteger(1, 1e6),
      DEFAULT_MAX_QUEUED_BYTES / MIB,
    )
    .option(
      "--max-unread-total <MiB>",
      "when more than this is waiting for all peers, disconnect the one with most",
      parseInteger(1, 1e6),
      DEFAULT_MAX_UNREAD_TOTAL_MIB,
    )
    .addOption(
      timeOption("--hello-timeout <time>", "time for a peer to say who it is", DEFAULT_HELLO_NS),
    )
    .addOption(
      timeOption(
        "--message-timeout <time>",
        "time for a message to arrive completely",
        DEFAULT_MESSAGE_NS,
      ),
    );
}

export function addClientLimitOptions(command: Command): Command {
  return addLimitOptions(command)
    .option(
      "--max-payload <MiB>",
      "largest payload of a client's message",
      parseInteger(1, DEFAULT_FRAME_LIMITS.maxPayloadBytes / MIB),
      DEFAULT_FRAME_LIMITS.maxPayloadBytes / MIB,
    )
    .option(
      "--idle-timeout <time>",
      "disconnect clients without requests for this long (default: never)",
      parseDuration,
    );
}

function timeOption(flags: string, description: string, defaultNs: number): Option {
  return new Option(flags, description)
    .argParser(parseDuration).default(defaultNs, `${defaultNs / SECOND}s`);
}

/** What a listener makes of them. */
export function limitsOf(options: LimitOptions): Partial<ListenOptions> {
  const { maxConnections, maxConnectionsPerAddress = maxConnections } = options;
  return {
    maxConnections,
    maxConnectionsPerAddress,
    maxQueuedBytes: options.maxUnread * MIB,
    sendBudget: new SendBudget(options.maxUnreadTotal * MIB),
    helloNs: options.helloTimeout,
    messageNs: options.messageTimeout,
  };
}

/** As {@link limitsOf}. Workers that join send results of whole batches: these are not limited more. */
export function clientLimitsOf(options: ClientLimitOptions): Partial<ListenOptions> {
  const ofClients = { ...DEFAULT_FRAME_LIMITS, maxPayloadBytes: options.maxPayload * MIB };
  return {
    ...limitsOf(options),
    limitsOf: (peer) => peer === "client" ? ofClients : DEFAULT_FRAME_LIMITS,
    ...(options.idleTimeout === undefined ? {} : { idleNs: options.idleTimeout }),
  };
}
