/** `clockwork gateway`: the HTTP front door in its own process. */
import { Command } from "commander";
import { printable } from "../core/log.ts";
import { SystemClock } from "../core/system_clock.ts";
import { type Address, formatAddress, parseAddress } from "../wire/tcp.ts";
import { type AccessOptions, addAccessOptions, credentialsHelp } from "./options/access.ts";
import { readCredentials } from "./options/access.ts";
import { drainOption } from "./drain.ts";
import { UsageError } from "./exit.ts";
import { serveGateway } from "./gateway/server.ts";
import {
  addHttpLimitOptions,
  addHttpOptions,
  type HttpLimitOptions,
  type HttpOptions,
  limitsOf,
  readHttpAccess,
} from "./gateway/options.ts";
import { CLIENT_PORT, HTTP_PORT } from "./options/ports.ts";
import { parseInteger } from "./options/parse.ts";
import { openTracing } from "./tracing.ts";
import { StopSignals } from "./stop_signals.ts";

interface Options extends AccessOptions, HttpOptions, HttpLimitOptions {
  readonly port: number;
  readonly host: string;
  readonly user: number;
  readonly drain: number;
}

export function gatewayCommand(): Command {
  const command = new Command("gateway")
    .description("Serves a controller's models over HTTP, by the Open Inference Protocol.")
    .argument("<address>", `the controller, HOST[:PORT]; the port is ${CLIENT_PORT} by default`)
    .option("-p, --port <port>", "port for HTTP", parseInteger(1, 65535), HTTP_PORT)
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option(
      "--user <n>",
      "number of the user to whom requests are attributed",
      parseInteger(0, 0xffff_ffff),
      0,
    )
    .addOption(drainOption());
  addHttpLimitOptions(addHttpOptions(command));
  return addAccessOptions(command)
    .addHelpText(
      "after",
      "\nEnvironment:\n" +
        "  CLOCKWORK_HTTP_TOKEN   bearer token that HTTP clients must send\n" +
        credentialsHelp(25) + "\n" +
        "\nExample:\n  clockwork gateway 127.0.0.1:12346 --port 8000\n",
    )
    .action(run);
}

async function run(addressText: string, options: Options): Promise<void> {
  const controller = parseController(addressText);
  const listen = { hostname: options.host, port: options.port };
  const access = readHttpAccess(options, listen, options.insecure);
  const credentials = readCredentials(options);
  const clock = new SystemClock();
  const stop = new StopSignals();
  const log = (line: string) => console.log(printable(line));
  try {
    log("Starting Clockwork Gateway");
    const server = serveGateway(clock, log, {
      controller,
      credentials,
      listen,
      ...access,
      cors: options.cors ?? null,
      limits: limitsOf(options),
      userId: options.user,
      drainNs: options.drain,
    }, await openTracing());
    log(`Serving HTTP at http://${formatAddress(server.address)}/v2`);
    log(`Connecting to clockwork @ ${formatAddress(controller)}`);
    await stop.stopped;
    await server.close();
  } finally {
    clock.close();
    stop.close();
  }
  // Connections that are kept alive, and one that is being made, would keep the process alive.
  Deno.exit(0);
}

function parseController(text: string): Address {
  try {
    return parseAddress(text, CLIENT_PORT);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
