/** HTTP options of `clockwork gateway` and `controller --http`. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { DEFAULT_GATEWAY_LIMITS, type GatewayLimits } from "../../gateway/options.ts";
import { isLocal } from "../../wire/access.ts";
import { type Address, formatAddress } from "../../wire/tcp.ts";
import { readSecret } from "../options/access.ts";
import { UsageError } from "../exit.ts";
import { parseDuration, parseInteger } from "../options/parse.ts";

export interface HttpOptions {
  readonly httpTokenFile?: string;
  readonly cors?: string;
}

/** As the command line has them: sizes in MiB. */
export interface HttpLimitOptions {
  readonly maxBody: number;
  readonly maxBuffered: number;
  readonly maxRequests: number;
  readonly maxBatch: number;
  readonly bodyTimeout: number;
}

const MIB = 2 ** 20;

export function addHttpOptions(command: Command): Command {
  return command
    .option(
      "--http-token-file <file>",
      "bearer token that HTTP clients must send, instead of CLOCKWORK_HTTP_TOKEN's value",
    )
    .addOption(
      new Option(
        "--cors <origin>",
        "let web pages of this origin use the gateway, * for all (default: none)",
      ).argParser(parseOrigin),
    );
}

export function addHttpLimitOptions(command: Command): Command {
  const { maxBodyBytes, maxBufferedBytes, maxRequests, maxBatchSize, bodyTimeoutNs } =
    DEFAULT_GATEWAY_LIMITS;
  return command
    .option(
      "--max-body <MiB>",
      "largest body of a request, as sent or decompressed",
      parseInteger(1, 1024),
      maxBodyBytes / MIB,
    )
    .option(
      "--max-buffered <MiB>",
      "bodies of all requests in progress",
      parseInteger(1, 1024 * 1024),
      maxBufferedBytes / MIB,
    )
    .option(
      "--max-requests <n>",
      "requests in progress",
      parseInteger(1, 1e6),
      maxRequests,
    )
    .option(
      "--max-batch <n>",
      "largest batch of one request",
      parseInteger(1, 65536),
      maxBatchSize,
    )
    .addOption(
      new Option("--body-timeout <time>", "time for the body of a request to arrive")
        .argParser(parseDuration).default(bodyTimeoutNs, `${bodyTimeoutNs / 1e9}s`),
    );
}

function parseOrigin(text: string): string {
  if (text === "*" || (URL.canParse(text) && new URL(text).origin === text)) return text;
  throw new InvalidArgumentError("Expected an origin such as https://example.com, or *.");
}

export function limitsOf(options: HttpLimitOptions): GatewayLimits {
  return {
    maxBodyBytes: options.maxBody * MIB,
    maxBufferedBytes: options.maxBuffered * MIB,
    maxRequests: options.maxRequests,
    maxBatchSize: options.maxBatch,
    bodyTimeoutNs: options.bodyTimeout,
  };
}

/** Whom a gateway serves. */
export interface HttpAccess {
  /** What HTTP clients must say; null for nothing. */
  readonly token: string | null;
  /** Whether they may name the gateway as they like. */
  readonly anyHost: boolean;
}

/**
 * Without a token and --insecure, this machine only is served.
 * @throws {UsageError} that does not tell the token.
 */
export function readHttpAccess(
  { httpTokenFile }: HttpOptions,
  listen: Address,
  insecure: boolean,
): HttpAccess {
  const token = readSecret(httpTokenFile, "CLOCKWORK_HTTP_TOKEN");
  if (token === null && !insecure && !isLoopback(listen.hostname)) {
    throw new UsageError(
      `serving HTTP on ${
        formatAddress(listen)
      } lets other machines in: give clients a token with ` +
        "CLOCKWORK_HTTP_TOKEN or --http-token-file, or start with --insecure",
    );
  }
  return { token, anyHost: token !== null || insecure };
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || isLocal("", hostname);
}
