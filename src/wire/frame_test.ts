import assert from "node:assert/strict";
import fc from "fast-check";
import { Packr } from "msgpackr";
import {
  DEFAULT_FRAME_LIMITS,
  encodeFrame,
  type Frame,
  FrameParser,
  PREFIX_BYTES,
  ProtocolError,
} from "./frame.ts";
import { type Header, type Kind, KIND_NUMBERS, MAX_MODELS } from "./messages.ts";

/** As the parser's own; not exported, as nothing but these tests should care. */
const STAGING_BYTES = 64 * 1024;

const REQUEST: Header<"InferRequest"> = {
  user_id: 3,
  model_id: 4_000_000_000,
  batch_size: 1,
  deadline_ns: 100_000_000,
  slo_factor: 2.5,
};

/** A frame with a payload that shows any misplaced byte. */
function request(id: number, payloadBytes: number): Uint8Array {
  const payload = Uint8Array.from({ length: payloadBytes }, (_, i) => (i * 31 + id) & 0xff);
  return join([encodeFrame("InferRequest", id, REQUEST, payloadBytes, 1000 + id, -id), payload]);
}

/** A frame of any kind number and header bytes, right or wrong. */
function raw(
  number: number,
  header: Uint8Array,
  { id = 1, sentNs = 5, deltaNs = NaN, headerBytes = header.length, payloadBytes = 0 } = {},
): Uint8Array {
  const bytes = new Uint8Array(PREFIX_BYTES + header.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x4357_0100 | number);
  view.setUint32(4, headerBytes);
  view.setUint32(8, payloadBytes);
  view.setFloat64(16, id);
  view.setFloat64(24, sentNs);
  view.setFloat64(32, deltaNs);
  bytes.set(header, PREFIX_BYTES);
  return bytes;
}

const NUMBER = KIND_NUMBERS.InferRequest;

function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** A packer of other people, which chooses other encodings than ours. */
const foreign = new Packr({ useRecords: false });
const pack = (value: unknown): Uint8Array => Uint8Array.from(foreign.pack(value));

/** What comes of a stream: frames, and the error that ended it. */
function outcome(chunks: Iterable<Uint8Array>): { frames: unknown[]; error: string | undefined } {
  const parser = new FrameParser();
  const frames: unknown[] = [];
  try {
    for (const chunk of chunks) {
      for (const { message, sentNs, peerDeltaNs } of parser.feed(chunk)) {
        const { kind, id, header, payload } = message;
        frames.push({ kind, id, header, payload: payload.slice(), sentNs, peerDeltaNs });
      }
    }
    return { frames, error: undefined };
  } catch (error) {
    assert.ok(error instanceof ProtocolError, `not a ProtocolError: ${(error as Error).stack}`);
    return { frames, error: error.message };
  }
}

function split(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let offset = 0;
  for (let i = 0; offset < bytes.length; i++) {
    const end = offset + sizes[i % sizes.length]!;
    chunks.push(bytes.subarray(offset, end));
    offset = end;
  }
  return chunks;
}

function refusal(bytes: Uint8Array, parser = new FrameParser()): string {
  try {
    for (const _ of parser.feed(bytes));
  } catch (error) {
    assert.ok(error instanceof ProtocolError, `not a ProtocolError: ${(error as Error).stack}`);
    return error.message;
  }
  return assert.fail("it was accepted");
}

Deno.test("a frame comes back as it was sent", () => {
  const { frames, error } = outcome([request(7, 5)]);
  assert.equal(error, undefined);
  assert.deepEqual(frames, [{
    kind: "InferRequest",
    id: 7,
    header: REQUEST,
    payload: Uint8Array.of(7, 38, 69, 100, 131),
    sentNs: 1007,
    peerDeltaNs: -7,
  }]);
});

Deno.test("frames do not depend on where the stream is split", () => {
  const stream = join([
    request(1, 0),
    request(2, 1),
    encodeFrame("Ping", 0, {}, 0, 1, NaN),
    request(3, 700),
    encodeFrame("Goodbye", 0, { message: "grüße" }, 0, 2, NaN),
  ]);
  const whole = outcome([stream]);
  assert.equal(whole.frames.length, 5);
  for (let at = 0; at <= stream.length; at++) {
    assert.deepEqual(
      outcome([stream.subarray(0, at), stream.subarray(at)]),
      whole,
      `split at ${at}`,
    );
  }
  assert.deepEqual(outcome(split(stream, [1])), whole);
});

Deno.test("frames of any size survive any chunks", () => {
  const payloadBytes = fc.oneof(
    fc.constantFrom(0, 1, 4000, STAGING_BYTES - 1, STAGING_BYTES, STAGING_BYTES + 1, 200_000),
    fc.nat(3000),
  );
  fc.assert(
    fc.property(
      fc.array(payloadBytes, { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1, maxLength: 10 }),
      (sizes, chunks) => {
        const stream = join(sizes.map((size, id) => request(id, size)));
        const { frames, error } = outcome(split(stream, chunks));
        assert.equal(error, undefined);
        assert.deepEqual(
          frames.map((frame) => (frame as Frame["message"]).payload),
          sizes.map((size, id) => request(id, size).slice(request(id, 0).length)),
        );
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("thousands of small frames arrive, wherever the memory for them ends", () => {
  const sizes = Array.from({ length: 3000 }, (_, id) => id % 50);
  const stream = join(sizes.map((size, id) => request(id, size)));
  for (const chunk of [stream.length, STAGING_BYTES, 4096, 4099]) {
    const { frames, error } = outcome(split(stream, [chunk]));
    assert.equal(error, undefined);
    const arrived = frames as Frame["message"][];
    assert.deepEqual(arrived.map(({ id }) => id), sizes.map((_, id) => id));
    assert.deepEqual(arrived.map(({ payload }) => payload.length), sizes);
    assert.deepEqual(arrived[2999]!.payload, request(2999, 49).slice(-49));
  }
});

Deno.test("a header larger than the staging memory arrives, whatever follows it", () => {
  const models = Array.from({ length: 5000 }, (_, i) => ({
    model_id: i,
    model_path: `zoo/model_${i}`,
    input_size: 602_112,
    output_size: 4000,
  }));
  const large = encodeFrame("LsResponse", 9, { models }, 0, 1, NaN);
  assert.ok(large.length > 4 * STAGING_BYTES);
  const stream = join([request(1, 10), large, request(2, 100_000), large, request(3, 1)]);
  for (const sizes of [[stream.length], [1000], [65_536], [40, 70_001]]) {
    const { frames, error } = outcome(split(stream, sizes));
    assert.equal(error, undefined);
    assert.deepEqual(
      frames.map((frame) => (frame as Frame["message"]).id),
      [1, 9, 2, 9, 3],
    );
    const { header } = frames[3] as { header: Header<"LsResponse"> };
    assert.deepEqual(header.models, models);
  }
});

Deno.test("a large payload is read right into the array that the handler gets", () => {
  const parser = new FrameParser();
  const bytes = request(1, 300_000);
  const first = bytes.subarray(0, 1000);
  parser.target().set(first);
  parser.advance(first.length);
  assert.equal(parser.next(), null);
  const target = parser.target();
  assert.equal(target.length, bytes.length - first.length);
  target.set(bytes.subarray(first.length));
  parser.advance(target.length);
  const { payload } = parser.next()!.message;
  assert.equal(payload.buffer, target.buffer);
  assert.deepEqual(payload, bytes.subarray(bytes.length - 300_000));
});

Deno.test("a parser has little memory until a read has filled it", () => {
  const parser = new FrameParser();
  assert.equal(parser.target().length, 4096);
  for (const _ of parser.feed(join([1, 2, 3].map((id) => request(id, 2000)))));
  assert.equal(parser.target().length, STAGING_BYTES);
});

Deno.test("the memory of a large header is not kept", () => {
  const parser = new FrameParser();
  const models = Array.from({ length: 5000 }, (_, i) => ({
    model_id: i,
    model_path: "a",
    input_size: 1,
    output_size: 1,
  }));
  assert.equal([...parser.feed(encodeFrame("LsResponse", 1, { models }, 0, 1, NaN))].length, 1);
  assert.equal(parser.target().length, STAGING_BYTES);
});

Deno.test("a stream may only end between frames", () => {
  const parser = new FrameParser();
  assert.ok(parser.idle);
  for (const _ of parser.feed(request(1, 0).subarray(0, 1)));
  assert.ok(!parser.idle);
  for (const _ of parser.feed(request(1, 0).subarray(1)));
  assert.ok(parser.idle);
  for (const _ of parser.feed(request(1, 100_000).subarray(0, 90_000)));
  assert.ok(!parser.idle);
});

Deno.test("any bytes make frames or a ProtocolError, the same for any chunks", () => {
  const magic = Uint8Array.of(0x43, 0x57, 1);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        // Past the first checks.
        fc.tuple(fc.constantFrom(...Object.values(KIND_NUMBERS)), fc.uint8Array({ maxLength: 80 }))
          .map(([number, header]) => raw(number, header)),
        fc.uint8Array({ maxLength: 80 }).map((rest) => join([magic, rest])),
      ),
      fc.integer({ min: 1, max: 60 }),
      (bytes, size) => assert.deepEqual(outcome(split(bytes, [size])), outcome([bytes])),
    ),
    { numRuns: 2000 },
  );
});

Deno.test("a frame with bytes changed makes frames or a ProtocolError", () => {
  const change = fc.record({ at: fc.nat(), to: fc.integer({ min: 0, max: 255 }) });
  const kinds: Uint8Array[] = [
    join([request(1, 20), request(2, 3)]),
    encodeFrame(
      "InferResult",
      5,
      {
        action_received_ns: 1,
        result_sent_ns: 2,
        gpu_id: 0,
        copy_input: { begin_ns: 1, end_ns: 2, duration_ns: 1 },
        exec: { begin_ns: 1, end_ns: 2, duration_ns: 1 },
        copy_output: { begin_ns: 1, end_ns: 2, duration_ns: 1 },
        output_sizes: [4000, 4000],
        gpu_clock_before: 1380,
        gpu_clock: 1380.5,
      },
      0,
      1,
      NaN,
    ),
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...kinds),
      fc.array(change, { minLength: 1, maxLength: 4 }),
      (bytes, changes) => {
        const changed = bytes.slice();
        for (const { at, to } of changes) {
          // The length fields' upper bytes stay: claims of large lengths are tested by themselves.
          const index = at % changed.length;
          if (index < 4 || index > 10) changed[index] = to;
        }
        outcome([changed]);
      },
    ),
    { numRuns: 3000 },
  );
});

Deno.test("lengths beyond the limits are refused before anything is allocated", () => {
  const header = pack(REQUEST);
  const max = 0xffff_ffff;
  assert.equal(
    refusal(raw(NUMBER, header, { payloadBytes: max })),
    `InferRequest: payload of ${max} bytes, limit ${DEFAULT_FRAME_LIMITS.maxPayloadBytes}`,
  );
  assert.equal(
    refusal(raw(NUMBER, header, { headerBytes: max })),
    `InferRequest: header of ${max} bytes, limit 65536`,
  );
  assert.equal(
    refusal(raw(KIND_NUMBERS.LsResponse, header, { headerBytes: max })),
    `LsResponse: header of ${max} bytes, limit ${DEFAULT_FRAME_LIMITS.maxHeaderBytes}`,
  );
  // The prefix alone is enough.
  assert.match(
    refusal(raw(NUMBER, header, { payloadBytes: max }).subarray(0, PREFIX_BYTES)),
    /payload of 4294967295 bytes/,
  );
  const strict = new FrameParser({ maxHeaderBytes: 10, maxPayloadBytes: 100 });
  assert.match(refusal(request(1, 0), strict), /^InferRequest: header of \d+ bytes, limit 10$/);
  assert.equal(
    refusal(raw(KIND_NUMBERS.Hello, pack({}), { payloadBytes: 1 })),
    "Hello: payload of 1 bytes, limit 0",
  );
});

Deno.test("exactly the limit is accepted", () => {
  const bytes = request(1, 100);
  const maxHeaderBytes = bytes.length - 100 - PREFIX_BYTES;
  const parser = new FrameParser({ maxHeaderBytes, maxPayloadBytes: 100 });
  assert.equal([...parser.feed(bytes)].length, 1);
});

Deno.test("ids must be exact numbers, and times within 36 years", () => {
  const header = pack(REQUEST);
  for (const id of [NaN, -1, 0.5, 2 ** 53, Infinity, -Infinity, 1e300]) {
    assert.equal(refusal(raw(NUMBER, header, { id })), `InferRequest: invalid id ${id}`);
  }
  for (const sentNs of [NaN, Infinity, -Infinity, 2 ** 60 + 256, -1e300]) {
    assert.match(refusal(raw(NUMBER, header, { sentNs })), /^InferRequest: invalid send time /);
  }
  for (const deltaNs of [Infinity, -Infinity, 1e300]) {
    assert.match(refusal(raw(NUMBER, header, { deltaNs })), /^InferRequest: invalid clock delta /);
  }
  const extreme = { id: 2 ** 53 - 1, sentNs: -(2 ** 60), deltaNs: 2 ** 60 };
  const { error } = outcome([raw(NUMBER, header, extreme)]);
  assert.equal(error, undefined);
});

Deno.test("unknown kinds and foreign protocols are refused in words", () => {
  assert.equal(refusal(raw(200, pack({}))), "unknown message kind 200");
  // Shorter than any frame: whoever sent it would wait for an answer.
  for (const text of ["GET / HTTP/1.1\r\n\r\n", "hi\n", "CW\x02", "CV\x01", "DW\x01"]) {
    const bytes = new TextEncoder().encode(text);
    assert.match(refusal(bytes), /^not a Clockwork frame: .* on the right port\?$/);
  }
});

Deno.test("a kind that may not be sent now is refused before its header is read", () => {
  const parser = new FrameParser();
  parser.refusal = (kind: Kind) => kind === "LsResponse" ? "not now" : undefined;
  const bytes = raw(KIND_NUMBERS.LsResponse, new Uint8Array(0), { headerBytes: 1e6 });
  assert.equal(refusal(bytes, parser), "not now");
});

Deno.test("frames before the one that is wrong are delivered", () => {
  const { frames, error } = outcome([join([request(1, 0), request(2, 3), raw(200, pack({}))])]);
  assert.equal(frames.length, 2);
  assert.equal(error, "unknown message kind 200");
});

Deno.test("what is wrong with a header is named", () => {
  const wrong = (header: unknown) => refusal(raw(NUMBER, pack(header)));
  assert.match(
    refusal(raw(NUMBER, Uint8Array.of(0xc1))),
    /^InferRequest: header is not valid msgp/,
  );
  assert.match(refusal(raw(NUMBER, new Uint8Array(0))), /not valid msgpack: it ends too early$/);
  assert.match(refusal(raw(NUMBER, Uint8Array.of(0x80, 0x80))), /1 bytes left over$/);
  assert.equal(wrong([1, 2]), "InferRequest: InferRequest must be a map, got an object");
  assert.equal(wrong(null), "InferRequest: InferRequest must be a map, got null");
  assert.equal(
    wrong({ ...REQUEST, model_id: "seven" }),
    "InferRequest: model_id must be an integer from 0 to 4294967295, got seven",
  );
  assert.match(wrong({ ...REQUEST, batch_size: 1.5 }), /batch_size must be an integer .* got 1.5$/);
  assert.match(wrong({ ...REQUEST, deadline_ns: -1 }), /deadline_ns must be a number that is not/);
  assert.match(wrong({ ...REQUEST, slo_factor: NaN }), /slo_factor must be a number .* got NaN$/);
  assert.match(wrong({ ...REQUEST, user_id: null }), /user_id must be .* got null$/);
  const { user_id: _, ...without } = REQUEST;
  assert.match(wrong(without), /user_id must be .* got undefined$/);
});

Deno.test("fields that we do not know are ignored", () => {
  const header = { ...REQUEST, tags: ["a", { b: [1, null, true] }], blob: new Uint8Array(9) };
  const { frames, error } = outcome([raw(NUMBER, pack(header))]);
  assert.equal(error, undefined);
  const read = (frames[0] as { header: Header<"InferRequest"> }).header;
  assert.equal(read.model_id, REQUEST.model_id);
});

Deno.test("times and sizes are numbers, whatever width of integer a client chose", () => {
  const wide = { ...REQUEST, deadline_ns: 2n ** 52n, user_id: 5n, model_id: 7n, batch_size: 1n };
  const bytes = pack(wide);
  assert.ok(bytes.includes(0xcf) || bytes.includes(0xd3), "a 64-bit integer was encoded");
  const { frames } = outcome([raw(NUMBER, bytes)]);
  const { header } = frames[0] as { header: Header<"InferRequest"> };
  assert.deepEqual(header, {
    ...REQUEST,
    deadline_ns: 2 ** 52,
    user_id: 5,
    model_id: 7,
    batch_size: 1,
  });
  const negative = { model_id: 1, gpu_id: 0, earliest_ns: -(2n ** 40n), latest_ns: -1n };
  const evict = outcome([raw(KIND_NUMBERS.EvictWeights, pack(negative))]);
  assert.deepEqual((evict.frames[0] as { header: unknown }).header, {
    model_id: 1,
    gpu_id: 0,
    earliest_ns: -(2 ** 40),
    latest_ns: -1,
  });
});

Deno.test("lists are cut off at their limits by the schema", () => {
  const models = new Array(MAX_MODELS + 1).fill(0);
  const gpu = {
    name: "",
    weights_cache_size: 1,
    weights_cache_pages: 1,
    io_pool_size: 1,
    workspace_pool_size: 1,
    models,
  };
  const state = { action_received_ns: 1, result_sent_ns: 1, page_size: 1, gpus: [gpu], models: [] };
  assert.match(
    refusal(raw(KIND_NUMBERS.GetWorkerStateResult, pack(state))),
    /^GetWorkerStateResult: models must be a list of at most 1000000 values/,
  );
});
