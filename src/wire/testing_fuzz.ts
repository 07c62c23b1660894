/**
 * For tests and benches: frames that are nearly right, by seed.
 *
 * What a peer sends on one connection is made of frames that hold values nobody would send, and, as
 * most mistakes end a connection, of at most one at the end that breaks the protocol.
 */
import type { Random } from "../core/random.ts";
import type { Role } from "./roles.ts";
import { encodeFrame, FrameParser, ProtocolError } from "./frame.ts";
import { type Header, type Kind, KIND_NUMBERS, PROTOCOL_VERSION } from "./messages.ts";

/** Ids that nobody else uses: what the fuzzed node serves must stay as it is. */
const FIRST_ID = 4_000_000;

const facts = {
  input_size: 8,
  output_size: 8,
  weights_size: 100,
  num_weights_pages: 1,
  weights_load_time_ns: 1e6,
  supported_batch_sizes: [1, 2],
  exec_times_ns: [1e6, 2e6],
  inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
};
const timing = { begin_ns: 1, end_ns: 2, duration_ns: 1 };
const handling = { action_received_ns: 1, result_sent_ns: 2 };
const window = { earliest_ns: 0, latest_ns: 1e15 };
const model_id = FIRST_ID;

const file = { name: "model.onnx", size: 8, sha256: "0".repeat(64) };

/** A header of each kind that somebody may send to a node that listens. */
const samples: { readonly [K in Kind]?: Header<K> } = {
  Hello: { version: PROTOCOL_VERSION, role: "client", token: "" },
  Ping: {},
  Goodbye: { message: "bye" },
  LoadModelFromDisk: {
    model_id,
    no_of_copies: 1,
    model_path: "no/such/model",
    ...window,
    max_batch_size: 8,
    max_exec_duration_ns: 1e9,
  },
  LoadWeights: { model_id, gpu_id: 0, ...window, expected_duration_ns: 1e6 },
  Infer: {
    model_id,
    gpu_id: 0,
    batch_size: 2,
    input_sizes: [8, 8],
    ...window,
    expected_duration_ns: 1e6,
  },
  EvictWeights: { model_id, gpu_id: 0, ...window },
  GetWorkerState: {},
  UnloadModel: { model_id, no_of_copies: 1 },
  BeginUpload: { upload_id: 0, model_name: "m", files: [file] },
  UploadChunk: { upload_id: 0, file: 0, offset: 0 },
  EndUpload: { upload_id: 0, keep: 1 },
  ReadUpload: { model_path: "uploads/m/0000000000000000", file: 0, offset: 0, length: 8 },
  ListUploads: {},
  RemoveUploads: { model_paths: ["uploads/m/0000000000000000"] },
  LoadModelFromDiskResult: { ...handling, ...timing, copies_created: 1, ...facts },
  LoadWeightsResult: { ...handling, ...timing },
  InferResult: {
    ...handling,
    gpu_id: 0,
    copy_input: timing,
    exec: timing,
    copy_output: timing,
    output_sizes: [8],
    gpu_clock_before: 0,
    gpu_clock: 0,
  },
  GetWorkerStateResult: { ...handling, page_size: 1, gpus: [], signatures: [], models: [] },
  ErrorResult: { ...handling, action_type: 2, status: 1, message: "no" },
  InferRequest: { user_id: 1, model_id, batch_size: 1, deadline_ns: 0, slo_factor: 0 },
  EvictRequest: { user_id: 1, model_id },
  LsRequest: { user_id: 1 },
  LoadModelRequest: {
    user_id: 1,
    model_path: "no/such/model",
    no_of_copies: 1,
    workers: ["0"],
    key: "k",
  },
  UnloadModelRequest: { user_id: 1, model_id, no_of_copies: 1, key: "k" },
  DescribeModelsRequest: { user_id: 1, model_id, revision: 0 },
  ClusterStateRequest: { cursor: 0 },
  BeginUploadRequest: { user_id: 1, model_name: "m", files: [file], workers: [] },
  UploadChunkRequest: { upload_id: 1, file: 0, offset: 0 },
  EndUploadRequest: { upload_id: 1, keep: 1 },
  ListUploadsRequest: { user_id: 1 },
  RemoveUploadRequest: { user_id: 1, model_path: "uploads/m/0000000000000000" },
  InferResponse: { output_size: 0 },
  ErrorResponse: { request_type: 0, status: 1, message: "no" },
};
const sampled = Object.keys(samples) as Kind[];

/** The numbers of the kinds that a peer of this role sends to a node that listens. */
const RANGES: Readonly<Record<Role, readonly [number, number]>> = {
  controller: [16, 31],
  worker: [32, 47],
  client: [64, 79],
};

/** What one peer sends. */
export interface Conversation {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Those that a node reads before it gives up, with the one for which it does. */
  readonly frames: number;
}

/**
 * What a peer of this role might send instead of what it should: sometimes before Hello or with a wrong
 * one, mostly after a right one.
 *
 * @param token which some do not say.
 * @param maxFrames besides Hello, at least 1.
 */
export function fuzzed(
  random: Random,
  role: Role,
  token: string,
  maxFrames: number,
): Conversation {
  const parts: Uint8Array[] = [];
  const hello = { version: PROTOCOL_VERSION, role, token: random.below(4) === 0 ? "" : token };
  const greeting = random.below(16);
  if (greeting === 0) return join([broken(random, sampled)]);
  if (greeting === 1) return join([flipped(random, whole("Hello", 0, hello, 0))]);
  if (greeting === 2) parts.push(whole("Hello", 0, { ...hello, ...odd(random, hello) }, 0));
  else parts.push(whole("Hello", 0, hello, 0));
  const [first, last] = RANGES[role];
  const own = sampled.filter((kind) => KIND_NUMBERS[kind] >= first && KIND_NUMBERS[kind] <= last);
  for (let i = random.below(maxFrames); i > 0; i--) parts.push(oddFrame(random, own));
  parts.push(broken(random, random.below(4) === 0 ? sampled : own));
  return join(parts);
}

/** A frame that can be read, with values at the edges of what they may be. */
function oddFrame(random: Random, kinds: readonly Kind[]): Uint8Array {
  const kind = pick(random, kinds);
  const header = samples[kind]!;
  const size = random.below(4) === 0 ? random.below(3000) : 0;
  return whole(kind, random.below(1 << 20), { ...header, ...odd(random, header) }, size);
}

/** A frame that is wrong in one of many ways; rarely one that is right all the same. */
function broken(random: Random, kinds: readonly Kind[]): Uint8Array {
  const kind = pick(random, kinds);
  const header = { ...samples[kind]! } as Record<string, unknown>;
  const bytes = whole(kind, random.below(1 << 20), header, 16);
  const view = new DataView(bytes.buffer);
  switch (random.below(10)) {
    case 0:
      return flipped(random, bytes);
    case 1:
      return bytes.subarray(0, random.below(bytes.length));
    case 2:
      view.setUint32(4, edge(random));
      return bytes;
    case 3:
      view.setUint32(8, edge(random));
      return bytes;
    case 4: {
      // Number 20 is ClearCache, which would do as it is told.
      const number = random.below(256);
      view.setUint8(3, number === KIND_NUMBERS.ClearCache ? 0 : number);
      return bytes;
    }
    case 5:
      view.setFloat64(16 + 8 * random.below(3), pick(random, [NaN, -1, 0.5, Infinity, -Infinity]));
      return bytes;
    case 6: {
      const other = oddFrame(random, sampled);
      return concat([
        bytes.subarray(0, random.below(bytes.length)),
        other.subarray(random.below(other.length)),
      ]);
    }
    case 7: {
      const [name] = pickField(random, header);
      if (name !== undefined) header[name] = pick(random, WRONG);
      return whole(kind, 1, header, 0);
    }
    case 8: {
      let nested: unknown = 1;
      for (let i = random.below(64); i > 0; i--) {
        nested = random.below(2) === 0 ? [nested] : { a: nested };
      }
      return whole(kind, 1, { ...header, nested }, 0);
    }
    default:
      return randomBytes(random, 1 + random.below(200));
  }
}

/** Of one or two of a header's fields, values of the same type. */
function odd(random: Random, header: object): Record<string, unknown> {
  const changed: Record<string, unknown> = {};
  for (let i = 1 + random.below(2); i > 0; i--) {
    const [name, value] = pickField(random, header as Record<string, unknown>);
    if (name === undefined) break;
    if (name === "model_id") changed[name] = FIRST_ID + random.below(1 << 20);
    else if (typeof value === "number") changed[name] = edge(random);
    else if (typeof value === "string") changed[name] = pick(random, TEXTS);
    else if (Array.isArray(value)) {
      const [first] = value;
      const other = () => typeof first === "number" ? edge(random) : first ?? GPU;
      changed[name] = name === "models" ? [] : Array.from({ length: random.below(20) }, other);
    }
  }
  return changed;
}

/** What a list of a worker's GPUs is made of. */
const GPU = {
  name: "GPU",
  weights_cache_size: 100,
  weights_cache_pages: 10,
  io_pool_size: 100,
  workspace_pool_size: 100,
  models: [],
};

const TEXTS = [
  "",
  "../../../../etc/passwd",
  "/dev/zero",
  "no\u0000such",
  "\u001b[2J\r\n",
  "\ud800",
  "ü€𝄞",
  "x".repeat(4096),
  "x".repeat(5000),
  "no/such/model",
];

/** What no field may be. */
const WRONG: readonly unknown[] = [
  null,
  undefined,
  -1,
  NaN,
  2 ** 70,
  "text",
  true,
  [],
  {},
  new Date(0),
  new Uint8Array(10),
  [[[[]]]],
  { length: 10 },
];

function edge(random: Random): number {
  const power = 2 ** random.below(54);
  return pick(random, [0, 1, 2, power - 1, power, power + 1, random.uint32()]);
}

/** A frame as it should be, with a payload of zeros. */
function whole(
  kind: Kind,
  id: number,
  header: object,
  payloadBytes: number,
): Uint8Array<ArrayBuffer> {
  const head = encodeFrame(kind, id, header, payloadBytes, 0, NaN);
  const bytes = new Uint8Array(head.length + payloadBytes);
  bytes.set(head);
  return bytes;
}

/** With some bits changed, but not those of the kind. */
function flipped(random: Random, bytes: Uint8Array): Uint8Array {
  for (let i = 1 + random.below(8); i > 0; i--) {
    const at = random.below(bytes.length);
    if (at !== 3) bytes[at]! ^= 1 << random.below(8);
  }
  return bytes;
}

function randomBytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256));
}

function pick<T>(random: Random, values: readonly T[]): T {
  return values[random.below(values.length)]!;
}

function pickField(
  random: Random,
  header: Readonly<Record<string, unknown>>,
): [string, unknown] | [undefined, undefined] {
  const fields = Object.entries(header);
  return fields.length === 0 ? [undefined, undefined] : pick(random, fields);
}

function join(parts: readonly Uint8Array[]): Conversation {
  const bytes = concat(parts);
  const parser = new FrameParser();
  let frames = 1;
  try {
    for (const _ of parser.feed(bytes)) frames++;
    if (parser.idle) frames--;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
  return { bytes, frames };
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
