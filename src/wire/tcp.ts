/** Links over Deno TCP. The only file that opens sockets. */
import { type Clock, MS, SECOND } from "../core/clock.ts";
import { addressRefusal, isLocal, LOCAL_ONLY } from "./access.ts";
import { type AcceptPeer, type ByteStream, CLOSED_BY_PEER, Connection } from "./connection.ts";
import type { ConnectionOptions } from "./connection_options.ts";
import type { Accept } from "./link.ts";
import { connectTls, serveTls, type TlsIdentity } from "./tls.ts";

export interface Address {
  readonly hostname: string;
  readonly port: number;
  /** The name that its certificate must have, where that is not `hostname`. */
  readonly name?: string;
}

/**
 * Reads "host", "host:port", "[::1]:port".
 * @throws {RangeError} with a message for the user.
 */
export function parseAddress(text: string, defaultPort: number): Address {
  const match = /^(?:\[([^\]]+)\]|([^:\s]+))(?::(\d{1,5}))?$/.exec(text.trim());
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (match === null || port < 1 || port > 65535) {
    throw new RangeError(
      `"${text}" is not an address: expected HOST:PORT, e.g. 127.0.0.1:${defaultPort}`,
    );
  }
  return { hostname: match[1] ?? match[2]!, port };
}

/** "host:port", with brackets around an IPv6 address. */
export function formatAddress({ hostname, port }: Address): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

interface PeerOptions extends Omit<ConnectionOptions, "address"> {
  /** Speaks TLS, and serves peers with a certificate only, wherever they are. */
  readonly tls?: TlsIdentity;
}

export interface ListenOptions extends PeerOptions {
  /** Further connections are closed at once. */
  readonly maxConnections?: number;
  /** As `maxConnections`, of those that come from one address. */
  readonly maxConnectionsPerAddress?: number;
  /** Whether a peer's address is of this machine, given our end's; by default by {@link isLocal}. */
  readonly isLocal?: (local: string, remote: string) => boolean;
  /**
   * Told of connections that ended before the peer had said that it is one we talk to; not of those that
   * ended without a word, as health checks of the port do.
   */
  readonly onRefused?: (peer: string, reason: string) => void;
}

export const DEFAULT_MAX_CONNECTIONS = 10_000;
/** Pause after a connection that could not be accepted. */
const ACCEPT_PAUSE_NS = 10 * MS;

export interface Listener {
  readonly address: Address;
  readonly connections: number;
  /** Stops listening; links that exist stay open. */
  close(): void;
}

/**
 * Listens on an address and makes a link of each connection.
 * @throws {Error} naming the address when it cannot be listened on, e.g. because it is in use.
 */
export function listen(
  address: Address,
  clock: Clock,
  options: ListenOptions,
  accept: AcceptPeer,
): Listener {
  let listener: Deno.TcpListener;
  try {
    listener = Deno.listen({ hostname: address.hostname, port: address.port });
  } catch (error) {
    const where = formatAddress(address);
    if (error instanceof Deno.errors.AddrInUse) {
      throw new Error(
        `cannot listen on ${where}: the port is in use; stop the other program or choose another with -p`,
      );
    }
    throw new Error(`cannot listen on ${where}: ${(error as Error).message}`);
  }
  const { maxConnections = DEFAULT_MAX_CONNECTIONS, maxConnectionsPerAddress = Infinity } = options;
  let connections = 0;
  const byAddress = new Map<string, number>();
  const count = (hostname: string, change: 1 | -1): number => {
    connections += change;
    const ofAddress = (byAddress.get(hostname) ?? 0) + change;
    if (ofAddress === 0) byAddress.delete(hostname);
    else byAddress.set(hostname, ofAddress);
    return ofAddress;
  };
  const take = (conn: Deno.TcpConn) => {
    const remote = conn.remoteAddr;
    const socket = tcpStream(conn, () => count(remote.hostname, -1));
    const ofAddress = count(remote.hostname, 1);
    const { tls } = options;
    const stream = tls === undefined ? socket : serveTls(socket, tls);
    const name = formatAddress(remote);
    const connection: Connection = new Connection(
      stream,
      clock,
      { ...options, address: name, helloLast: true },
      accept,
      (reason) => {
        // Who leaves without a word has only looked whether the port is open, as health checks do.
        const looked = reason === CLOSED_BY_PEER && connection.traffic.receivedBytes === 0;
        if (!looked) options.onRefused?.(name, reason);
      },
    );
    const local = (options.isLocal ?? isLocal)(conn.localAddr.hostname, remote.hostname);
    const refused = tls === undefined ? addressRefusal(options.access ?? LOCAL_ONLY, local) : null;
    if (refused !== null) connection.refuse(refused);
    else if (connections > maxConnections) {
      connection.refuse(`limit of ${maxConnections} connections`);
    } else if (ofAddress > maxConnectionsPerAddress) {
      connection.refuse(`limit of ${maxConnectionsPerAddress} connections from one address`);
    } else connection.start();
  };
  let listening = true;
  (async () => {
    while (listening) {
      try {
        take(await listener.accept());
      } catch {
        if (!listening) return;
        // A connection that died while it waited to be accepted, or no descriptors left: the listener
        // lives on. The pause keeps a lasting fault from spinning.
        await new Promise<void>((resolve) => clock.at(clock.now() + ACCEPT_PAUSE_NS, resolve));
      }
    }
  })();
  const { hostname, port } = listener.addr as Deno.NetAddr;
  return {
    address: { hostname, port },
    get connections() {
      return connections;
    },
    close: () => {
      if (!listening) return;
      listening = false;
      listener.close();
    },
  };
}

export interface ConnectOptions extends PeerOptions {
  /** Gives the attempt up; a link that has been accepted stays. */
  readonly signal?: AbortSignal;
}

/**
 * How long a machine may take to answer that it will be connected to, in nanoseconds. The system would
 * wait for two minutes, and ask at ever longer intervals, so that a network that works again would not
 * be noticed for long.
 */
const HANDSHAKE_NS = 1.5 * SECOND;

/**
 * Connects to an address; resolves when the peer has said hello and `accept` has the link.
 * @throws {Error} naming the address when there is nothing to connect to, or not one we talk to.
 */
export async function connect(
  address: Address,
  clock: Clock,
  options: ConnectOptions,
  accept: Accept,
): Promise<void> {
  const { signal, tls, ...peerOptions } = options;
  const name = formatAddress(address);
  const socket = tcpStream(await handshake(address, clock, signal));
  const made = Promise.withResolvers<void>();
  const connection = new Connection(
    tls === undefined ? socket : connectTls(socket, tls, address.name ?? address.hostname),
    clock,
    { ...peerOptions, address: name },
    (link) => {
      signal?.removeEventListener("abort", giveUp);
      const handler = accept(link);
      made.resolve();
      return handler;
    },
    (reason) => made.reject(new Error(`${name} did not take the connection: ${reason}`)),
  );
  const giveUp = () => connection.close("the attempt was given up");
  signal?.addEventListener("abort", giveUp);
  connection.start();
  if (signal?.aborted) giveUp();
  await made.promise;
}

async function handshake(
  address: Address,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<Deno.TcpConn> {
  const name = formatAddress(address);
  const given = new AbortController();
  const giveUp = () => given.abort();
  signal?.addEventListener("abort", giveUp);
  const patience = clock.at(clock.now() + HANDSHAKE_NS, giveUp);
  try {
    const { hostname, port } = address;
    return await Deno.connect({ hostname, port, signal: given.signal });
  } catch (error) {
    if (given.signal.aborted) {
      throw new Error(`${name} does not answer: is it running, and can it be reached from here?`);
    }
    if (error instanceof Deno.errors.ConnectionRefused) {
      throw new Error(`${name} refused the connection: nothing listens there`);
    }
    throw new Error(`cannot connect to ${name}: ${(error as Error).message}`);
  } finally {
    patience.cancel();
    signal?.removeEventListener("abort", giveUp);
  }
}

function tcpStream(conn: Deno.TcpConn, onClose?: () => void): ByteStream {
  try {
    // Small messages must not wait for the answer to the one before.
    conn.setNoDelay(true);
  } catch (error) {
    conn.close();
    throw error;
  }
  let open = true;
  return {
    read: (into) => conn.read(into),
    write: (bytes) => conn.write(bytes),
    closeWrite: () => conn.closeWrite(),
    close: () => {
      if (!open) return;
      open = false;
      conn.close();
      onClose?.();
    },
  };
}
