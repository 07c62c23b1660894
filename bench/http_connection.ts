/** A bare HTTP/1.1 connection, so that a bench measures the server and not a client. */

/** A whole POST request as bytes. */
export function httpRequest(
  path: string,
  headers: Readonly<Record<string, string>>,
  body: readonly Uint8Array[],
): Uint8Array {
  const length = body.reduce((sum, piece) => sum + piece.length, 0);
  const all = { host: "127.0.0.1", ...headers, "content-length": `${length}` };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const head = new TextEncoder().encode(`POST ${path} HTTP/1.1\r\n${lines}\r\n`);
  const request = new Uint8Array(head.length + length);
  let offset = 0;
  for (const piece of [head, ...body]) {
    request.set(piece, offset);
    offset += piece.length;
  }
  return request;
}

export class HttpConnection {
  readonly #connection: Deno.TcpConn;
  readonly #buffer = new Uint8Array(256 * 1024);

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  static async open(hostname: string, port: number): Promise<HttpConnection> {
    const connection = await Deno.connect({ hostname, port });
    connection.setNoDelay(true);
    return new HttpConnection(connection);
  }

  /** Sends a request, one at a time, and reads its answer; resolves to the status. */
  async ask(request: Uint8Array): Promise<number> {
    for (let sent = 0; sent < request.length;) {
      sent += await this.#connection.write(request.subarray(sent));
    }
    let filled = 0;
    let expected = Infinity;
    let status = 0;
    while (filled < expected) {
      const n = await this.#connection.read(this.#buffer.subarray(filled));
      if (n === null) throw new Error("the server hung up");
      filled += n;
      if (status > 0) continue;
      const text = new TextDecoder("latin1").decode(
        this.#buffer.subarray(0, Math.min(filled, 2048)),
      );
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) continue;
      status = Number(text.slice(9, 12));
      expected = end + 4 + Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
    }
    return status;
  }

  close(): void {
    this.#connection.close();
  }
}
