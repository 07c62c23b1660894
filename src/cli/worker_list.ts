/** The controller's argument WORKERS: which workers there are, and where to look for others. */
import { lookup } from "node:dns/promises";
import { type Address, formatAddress, parseAddress } from "../wire/tcp.ts";
import { UsageError } from "./exit.ts";
import { WORKER_PORT } from "./options/ports.ts";

/** A place that tells addresses of workers, and may tell others the next time. */
export interface WorkerSource {
  /** As the user wrote it. */
  readonly name: string;
  /** @throws {Error} with a message for the user. */
  read(): Promise<Address[]>;
}

export interface WorkerList {
  /** Workers that must be there when the controller starts. */
  readonly addresses: readonly Address[];
  readonly sources: readonly WorkerSource[];
  /** Whether workers may connect on their own, with `--join`. */
  readonly join: boolean;
}

/**
 * Reads WORKERS: parts separated by commas, each `HOST:PORT`, `@FILE`, `dns:NAME:PORT` or `join`.
 * @throws {UsageError}
 */
export function parseWorkers(text: string): WorkerList {
  const addresses: Address[] = [];
  const sources: WorkerSource[] = [];
  let join = false;
  for (const part of text.split(",").map((part) => part.trim())) {
    if (part === "join") join = true;
    else if (part.startsWith("@")) sources.push(fileSource(part));
    else if (part.startsWith("dns:")) sources.push(nameSource(part));
    else addresses.push(parseOrRefuse(part));
  }
  const names = addresses.map(formatAddress);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`worker ${twice} is named twice`);
  return { addresses, sources, join };
}

/**
 * Addresses in a file: one a line, or several separated by commas or spaces; `#` begins a comment.
 * @throws {Error} naming the line that is wrong.
 */
export function parseWorkerFile(text: string): Address[] {
  const found = new Map<string, Address>();
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    for (const word of line.replace(/#.*/, "").split(/[\s,]+/)) {
      if (word === "") continue;
      try {
        const address = parseAddress(word, WORKER_PORT);
        found.set(formatAddress(address), address);
      } catch (error) {
        throw new Error(`line ${i + 1}: ${(error as Error).message}`);
      }
    }
  }
  return [...found.values()];
}

function fileSource(name: string): WorkerSource {
  const path = name.slice(1);
  if (path === "") throw new UsageError("@ must be followed by the name of a file");
  return {
    name,
    read: async () => {
      try {
        return parseWorkerFile(await Deno.readTextFile(path));
      } catch (error) {
        throw new Error(`cannot read the list of workers ${path}: ${(error as Error).message}`);
      }
    },
  };
}

/** All addresses of a name, each a worker: those of IPv6 only where there are no others. */
function nameSource(name: string): WorkerSource {
  const { hostname, port } = parseOrRefuse(name.slice("dns:".length));
  return {
    name,
    read: async () => {
      let found: { address: string; family: number }[];
      try {
        found = await lookup(hostname, { all: true });
      } catch (error) {
        throw new Error(`cannot look up ${hostname}: ${(error as Error).message}`);
      }
      // A machine with both kinds of address is one worker, not two.
      const ipv4 = found.filter(({ family }) => family === 4);
      const chosen = new Set((ipv4.length > 0 ? ipv4 : found).map(({ address }) => address));
      return [...chosen].sort().map((address) => ({ hostname: address, port, name: hostname }));
    },
  };
}

function parseOrRefuse(text: string): Address {
  try {
    return parseAddress(text, WORKER_PORT);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
