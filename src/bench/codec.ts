/** Measures encoding and decoding of frames. */
import type { Clock } from "../core/clock.ts";
import { FrameParser } from "../wire/frame.ts";
import { payloads } from "../wire/payload_pool.ts";
import { SendQueue } from "../wire/send_queue.ts";

const REQUEST = { user_id: 1, model_id: 7, batch_size: 1, deadline_ns: 1e8, slo_factor: 0 };
/** Messages that are not counted: code is compiled in them. */
const WARM_UP = 2_000;

/**
 * Nanoseconds to encode and decode one request with an input of so many bytes, which are copied once,
 * as they are out of a socket.
 */
export function codecNs(clock: Clock, messages: number, payloadBytes: number): number {
  const queue = new SendQueue();
  const parser = new FrameParser();
  const payload = payloadBytes === 0 ? [] : [new Uint8Array(payloadBytes)];
  let beginNs = 0;
  let read = 0;
  const warmUp = Math.min(WARM_UP, messages);
  for (let i = 0; i < warmUp + messages; i++) {
    if (i === warmUp) beginNs = clock.now();
    queue.push("InferRequest", i, REQUEST, payload, payloadBytes, i, 0, undefined);
    for (let piece = queue.next(); piece !== null; piece = queue.next()) {
      for (const { message } of parser.feed(piece)) {
        payloads.release(message.payload);
        read++;
      }
      queue.sent(piece.length);
    }
  }
  const tookNs = clock.now() - beginNs;
  if (read !== warmUp + messages) throw new Error(`only ${read} messages came out`);
  return tookNs / messages;
}
