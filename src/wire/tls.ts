/**
 * TLS over any stream of bytes, with a certificate on both sides.
 *
 * It is Node's TLS, not Deno's own: `Deno.listenTls` cannot ask peers for a certificate, and its sockets
 * cannot be told to send small messages at once.
 */
import { isIP } from "node:net";
import { Duplex } from "node:stream";
import { connect, createServer, type TLSSocket } from "node:tls";
import type { ByteStream } from "./connection.ts";

/** What a node proves itself with, and whom it believes. All in PEM. */
export interface TlsIdentity {
  /** Its certificate, and those between it and the authority's, if any. */
  readonly cert: string;
  readonly key: string;
  /** Certificates of the authorities that peers' certificates must be signed by. */
  readonly ca: string;
}

const FIRST_READ_BYTES = 4 * 1024;
const READ_BYTES = 64 * 1024;
/** What is encrypted at a time: the rest waits as it is. */
const WRITE_BYTES = 256 * 1024;
/** What TLS tells those that do not speak it: an alert, "protocol version". */
const ALERT = Uint8Array.of(0x15, 3, 1, 0, 2, 2, 70);

/** Speaks TLS with a peer that has connected to us. It may be refused: see {@link ByteStream.refusal}. */
export function serveTls(stream: ByteStream, identity: TlsIdentity): ByteStream {
  const tls = new TlsStream(stream, "server");
  // That a peer is refused here, not by the library, is for its being told why.
  const options = { ...identity, requestCert: true, rejectUnauthorized: false };
  // A server a connection, as that alone tells which connection it was that failed.
  createServer(options)
    .once("secureConnection", (socket) => tls.opened(socket, refusalOf(socket)))
    .once("tlsClientError", async (error) => {
      if (speaksNoTls(error)) await stream.write(ALERT).catch(() => {});
      tls.failed(explained(error));
    })
    .emit("connection", tls.lower);
  return tls;
}

/** Speaks TLS with a peer that we have connected to by this name or IP address. */
export function connectTls(
  stream: ByteStream,
  identity: TlsIdentity,
  hostname: string,
): ByteStream {
  const tls = new TlsStream(stream, "client");
  const socket = connect({
    ...identity,
    socket: tls.lower,
    host: hostname,
    // TLS names no addresses.
    ...(isIP(hostname) === 0 ? { servername: hostname } : {}),
  });
  socket.once("secureConnect", () => tls.opened(socket, null));
  socket.on("error", (error) => tls.failed(explained(error)));
  return tls;
}

const CLOSED_EARLY =
  "the peer hung up in the TLS handshake: it may not believe this node's certificate";

class TlsStream implements ByteStream {
  /** What the library reads ciphertext from, and writes it to. */
  readonly lower: Duplex;
  refusal: string | null = "the TLS handshake is not over";
  readonly #stream: ByteStream;
  #socket: TLSSocket | null = null;
  #error: Error | null = null;
  #ended = false;
  /** Decrypted, and not read yet. */
  #rest: Uint8Array | null = null;
  /** Reads and writes that wait for something to happen. */
  #waiting: (() => void)[] = [];

  constructor(stream: ByteStream, side: "client" | "server") {
    this.#stream = stream;
    let heard = false;
    this.lower = duplexOf(stream, () => heard = true)
      .on("error", (error) => this.failed(error))
      .on("end", () => {
        // The library does not report that a client has ended.
        if (this.#socket !== null) return;
        // Health checks connect and leave without a word: that is no failed handshake.
        if (side === "server" && !heard) this.#end();
        else this.failed(new Error(CLOSED_EARLY));
      });
  }

  /** The handshake is over; `refusal` is why the peer is not served all the same. */
  opened(socket: TLSSocket, refusal: string | null): void {
    this.#socket = socket;
    this.refusal = refusal;
    socket
      .on("readable", () => this.#wake())
      .on("error", (error) => this.failed(explained(error)))
      .on("end", () => this.#end())
      .on("close", () => this.#end());
    this.#wake();
  }

  failed(error: Error): void {
    this.#error ??= error;
    this.#wake();
  }

  async read(into: Uint8Array): Promise<number | null> {
    while (true) {
      this.#rest ??= this.#socket?.read() ?? null;
      const bytes = this.#rest;
      if (bytes !== null) {
        const n = Math.min(bytes.length, into.length);
        into.set(n === bytes.length ? bytes : bytes.subarray(0, n));
        this.#rest = n === bytes.length ? null : bytes.subarray(n);
        return n;
      }
      if (this.#ended) return null;
      if (this.#error !== null) throw this.#error;
      await this.#change();
    }
  }

  async write(bytes: Uint8Array): Promise<number> {
    while (this.#socket === null) {
      if (this.#error !== null) throw this.#error;
      await this.#change();
    }
    const socket = this.#socket;
    const part = bytes.length > WRITE_BYTES ? bytes.subarray(0, WRITE_BYTES) : bytes;
    await new Promise<void>((resolve, reject) =>
      socket.write(part, (error) => error ? reject(this.#error ?? error) : resolve())
    );
    return part.length;
  }

  closeWrite(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket === null) resolve();
      else this.#socket.end(() => resolve());
    });
  }

  close(): void {
    this.failed(new Error("the connection was closed"));
    this.#socket?.destroy();
    this.lower.destroy();
    this.#stream.close();
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** A stream as Node's libraries take it. What it was made of must be closed by the caller. */
function duplexOf(stream: ByteStream, onBytes: () => void): Duplex {
  // Of thousands of connections, most are idle.
  let buffer = new Uint8Array(FIRST_READ_BYTES);
  return new Duplex({
    read() {
      stream.read(buffer).then((n) => {
        if (n === null) return void this.push(null);
        onBytes();
        const bytes = buffer.slice(0, n);
        if (n === buffer.length && n < READ_BYTES) buffer = new Uint8Array(READ_BYTES);
        this.push(bytes);
      }).catch((error) => this.destroy(error));
    },
    write(bytes: Uint8Array, _encoding, done) {
      writeAll(stream, bytes).then(() => done(), done);
    },
    final(done) {
      stream.closeWrite().then(() => done(), done);
    },
  });
}

async function writeAll(stream: ByteStream, bytes: Uint8Array): Promise<void> {
  for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await stream.write(rest));
}

/** Why a peer that has connected is not served; null: its certificate is right. */
function refusalOf(socket: TLSSocket): string | null {
  if (socket.authorized) return null;
  const { subject, valid_from, valid_to } = socket.getPeerCertificate();
  if (subject === undefined) return "this node asks for a certificate: see --tls-cert";
  return "its certificate, for the time from " +
    `${valid_from} to ${valid_to}, cannot be verified: ` +
    `it is not signed by this node's authority, or not valid now (${socket.authorizationError})`;
}

const UNVERIFIED = /^(UNABLE_TO_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT|CERT_)/;

/** Says what an error of TLS means. */
function explained(error: Error): Error {
  const { code = "" } = error as { code?: string };
  if (speaksNoTls(error)) {
    return new Error("the peer does not speak TLS: give certificates to both sides, or to neither");
  }
  if (UNVERIFIED.test(code)) {
    return new Error(
      "the peer's certificate cannot be verified: it is not signed by an authority of --tls-ca, or " +
        `not valid now (${code})`,
    );
  }
  const alert = /received fatal alert: (\w+)/.exec(error.message)?.[1];
  if (alert !== undefined) return new Error(`the peer ended the TLS handshake: ${alert}`);
  return new Error(`TLS: ${error.message}`);
}

function speaksNoTls(error: Error): boolean {
  return (error as { code?: string }).code === "ERR_SSL_WRONG_VERSION_NUMBER";
}
