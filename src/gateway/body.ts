/** Reads a request's body within limits of size and time, and decompresses it if necessary. */
import type { Clock } from "../core/clock.ts";
import { HttpError } from "./http_error.ts";
import type { GatewayLimits } from "./options.ts";

/** Bytes in any number of pieces, none of which is copied. */
export class Pieces {
  readonly length: number;
  readonly #pieces: readonly Uint8Array[];

  constructor(pieces: readonly Uint8Array[]) {
    this.#pieces = pieces;
    this.length = pieces.reduce((sum, { length }) => sum + length, 0);
  }

  /** The bytes from `start` to before `end`. */
  slice(start: number, end: number): Uint8Array[] {
    const found: Uint8Array[] = [];
    let offset = 0;
    for (const piece of this.#pieces) {
      const from = Math.max(start - offset, 0);
      const until = Math.min(end - offset, piece.length);
      if (from < until) found.push(piece.subarray(from, until));
      offset += piece.length;
    }
    return found;
  }

  /** The bytes from `start` to before `end` as UTF-8. Throws TypeError where they are not. */
  text(start: number, end: number): string {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    let text = "";
    for (const piece of this.slice(start, end)) text += decoder.decode(piece, { stream: true });
    return text + decoder.decode();
  }
}

interface Reading {
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  /** Whether its time is over. */
  late: boolean;
  /** To be called when nothing more is wanted. */
  readonly end: () => void;
}

/** How much of a body is read that nobody wants, as a multiple of the largest that is wanted. */
const DISCARDED = 4;

/** Reads bodies, and knows how much memory they take all together. */
export class BodyReader {
  readonly #clock: Clock;
  readonly #limits: GatewayLimits;
  #bufferedBytes = 0;

  constructor(clock: Clock, limits: GatewayLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Bytes of the bodies that are being used. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /**
   * Reads a body and has `use` use it; its bytes count until what `use` returns has settled.
   * @throws {HttpError} 400, 408, 413, 415 or 429
   */
  async with<T>(request: Request, use: (body: Pieces) => T | Promise<T>): Promise<T> {
    const { maxBodyBytes } = this.#limits;
    const declared = Number(request.headers.get("content-length") ?? 0);
    if (declared > maxBodyBytes) throw tooLarge(maxBodyBytes);
    const taken = { bytes: 0 };
    try {
      // All at once where it is known: ten bodies that each come to half would help nobody.
      this.#take(taken, declared);
      return await use(await this.#read(request, taken));
    } finally {
      this.#bufferedBytes -= taken.bytes;
    }
  }

  /**
   * Reads what nobody wants, of a request that is refused, within limits. A server that answers and hangs up
   * while the client is still sending resets the connection, and many clients never see the answer.
   */
  async discard(request: Request): Promise<void> {
    // One that asks before it sends gets its answer instead.
    if (request.body === null || request.bodyUsed || request.headers.has("expect")) return;
    const reading = this.#begin(request.body);
    await this.#skip(reading);
    reading.end();
  }

  async #read(request: Request, taken: { bytes: number }): Promise<Pieces> {
    const stream = decompressed(request);
    if (stream === null) return new Pieces([]);
    const { maxBodyBytes, bodyTimeoutNs } = this.#limits;
    const reading = this.#begin(stream);
    const pieces: Uint8Array[] = [];
    let length = 0;
    try {
      while (true) {
        const { done, value } = await reading.reader.read();
        if (reading.late) {
          throw new HttpError(408, `the body did not come within ${bodyTimeoutNs / 1e9} s`);
        }
        if (done) return new Pieces(pieces);
        length += value.length;
        if (length > maxBodyBytes) throw tooLarge(maxBodyBytes);
        if (length > taken.bytes) this.#take(taken, length - taken.bytes);
        if (value.length > 0) pieces.push(value);
      }
    } catch (error) {
      if (!(error instanceof HttpError)) {
        throw new HttpError(400, `the body cannot be read: ${(error as Error).message}`);
      }
      pieces.length = 0;
      await this.#skip(reading);
      throw error;
    } finally {
      reading.end();
    }
  }

  /** Begins to read a body, which must have come within the time that it has. */
  #begin(stream: ReadableStream<Uint8Array>): Reading {
    const reader = stream.getReader();
    const cancel = () => {
      reader.cancel().catch(() => {});
    };
    const timer = this.#clock.at(this.#clock.now() + this.#limits.bodyTimeoutNs, () => {
      reading.late = true;
      cancel();
    });
    const reading: Reading = {
      reader,
      late: false,
      end: () => {
        timer.cancel();
        cancel();
      },
    };
    return reading;
  }

  /** Reads on to the end, but not for ever. */
  async #skip(reading: Reading): Promise<void> {
    let left = DISCARDED * this.#limits.maxBodyBytes;
    try {
      while (!reading.late && left > 0) {
        const { done, value } = await reading.reader.read();
        if (done) return;
        left -= value.length;
      }
    } catch {
      // The client has gone.
    }
  }

  #take(taken: { bytes: number }, bytes: number): void {
    const { maxBufferedBytes } = this.#limits;
    if (this.#bufferedBytes + bytes > maxBufferedBytes) {
      throw new HttpError(
        429,
        `the bodies of other requests take ${this.#bufferedBytes} of the ${maxBufferedBytes} bytes ` +
          "that this gateway has for them: try again later",
        { "retry-after": "1" },
      );
    }
    taken.bytes += bytes;
    this.#bufferedBytes += bytes;
  }
}

function tooLarge(limit: number): HttpError {
  return new HttpError(413, `the body has more than ${limit} bytes, the limit of this gateway`);
}

function decompressed({ body, headers }: Request): ReadableStream<Uint8Array> | null {
  const encoding = headers.get("content-encoding")?.trim().toLowerCase() ?? "identity";
  if (encoding === "identity" || encoding === "") return body;
  if (encoding !== "gzip" && encoding !== "deflate") {
    throw new HttpError(
      415,
      `the body's encoding is ${encoding}, expected gzip, deflate or none`,
      { "accept-encoding": "gzip, deflate" },
    );
  }
  return body?.pipeThrough(new DecompressionStream(encoding)) ?? null;
}
