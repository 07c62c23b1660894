/** For tests and benches: peers that send a node what it is told is nearly right. */
import type { Conversation } from "../wire/testing_fuzz.ts";

/** A node that has not hung up by then, after its peer has, hangs. */
const HANG_MS = 10_000;

export interface FuzzOptions {
  readonly port: number;
  /** What the next peer says. */
  readonly next: () => Conversation;
  /** Frames to send at least. */
  readonly frames: number;
  /** Connections at a time. */
  readonly concurrency: number;
}

export interface FuzzCounts {
  frames: number;
  connections: number;
  bytes: number;
  /** Connections that the node left open. */
  hung: number;
  /** Connections that could not be made. */
  refused: number;
}

/** Sends frames on many short connections; resolves when all of them have ended. */
export async function fuzz(options: FuzzOptions): Promise<FuzzCounts> {
  const counts: FuzzCounts = { frames: 0, connections: 0, bytes: 0, hung: 0, refused: 0 };
  const peer = async () => {
    while (counts.frames < options.frames) {
      const { bytes, frames } = options.next();
      // Counted first, so that all peers together do not send more.
      counts.frames += frames;
      counts.bytes += bytes.length;
      try {
        if (!await converse(options.port, bytes)) counts.hung++;
        counts.connections++;
      } catch {
        counts.refused++;
      }
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, peer));
  return counts;
}

/** Says all of it, and reads to the end; whether there was one. */
async function converse(port: number, bytes: Uint8Array): Promise<boolean> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  let hung = false;
  const timer = setTimeout(() => {
    hung = true;
    conn.close();
  }, HANG_MS);
  try {
    for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await conn.write(rest));
    await conn.closeWrite();
    const buffer = new Uint8Array(16 * 1024);
    while (await conn.read(buffer) !== null);
  } catch {
    // It hung up on what we still had to say, or we on it.
  } finally {
    clearTimeout(timer);
    if (!hung) conn.close();
  }
  return !hung;
}
