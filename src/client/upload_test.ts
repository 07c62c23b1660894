import assert from "node:assert/strict";
import { UPLOAD_CHUNK_BYTES, UPLOAD_WINDOW } from "../wire/upload.ts";
import { SystemClock } from "../core/system_clock.ts";
import { Client } from "./client.ts";
import { ClockworkClient } from "./promises.ts";
import { ScriptedLink } from "./scripted_link.ts";
import type { UploadSource } from "./upload.ts";

/** A file of bytes that tell where they were. */
function source(name: string, size: number): UploadSource {
  return {
    name,
    size,
    sha256: "0".repeat(64),
    read: (offset, length) =>
      Promise.resolve(Uint8Array.from({ length }, (_, i) => (offset + i) % 251)),
  };
}

function setUp() {
  const link = new ScriptedLink();
  const client = new Client(link, link.clock);
  link.handler = client;
  return { link, clockwork: new ClockworkClient(client) };
}

/** All promises that can settle have. */
const settle = () => new Promise<void>((resolve) => setTimeout(resolve));

const BEGUN = { upload_id: 3, model_path: "uploads/net/0123456789abcdef", complete: 0 };

Deno.test("files are sent in order, few chunks at a time, and kept once all have them", async () => {
  const { link, clockwork } = setUp();
  const last = 1000;
  const sources = [
    source("model.onnx", 5 * UPLOAD_CHUNK_BYTES + last),
    source("weights.bin", UPLOAD_CHUNK_BYTES),
  ];
  const progress: [number, number][] = [];
  const uploaded = clockwork.uploadModel("net", sources, {
    workers: ["0"],
    onProgress: (sent, total) => progress.push([sent, total]),
  });
  const [begin] = link.sentOf("BeginUploadRequest");
  assert.deepEqual(begin!.header, {
    user_id: 0,
    model_name: "net",
    files: sources.map(({ name, size, sha256 }) => ({ name, size, sha256 })),
    workers: ["0"],
  });
  link.deliver("BeginUploadResponse", begin!.id, BEGUN);
  await settle();
  const chunks = () => link.sentOf("UploadChunkRequest");
  assert.equal(chunks().length, UPLOAD_WINDOW);
  for (let answered = 0; answered < 7; answered++) {
    assert.deepEqual(link.sentOf("EndUploadRequest"), []);
    link.deliver("UploadChunkResponse", chunks()[answered]!.id, {});
    await settle();
    assert.equal(chunks().length, Math.min(answered + 1 + UPLOAD_WINDOW, 7));
  }
  assert.deepEqual(
    chunks().map(({ header, payload }) => [header.file, header.offset, payload.length]),
    [0, 1, 2, 3, 4, 5].map((i) => [
      0,
      i * UPLOAD_CHUNK_BYTES,
      i < 5 ? UPLOAD_CHUNK_BYTES : last,
    ]).concat([[1, 0, UPLOAD_CHUNK_BYTES]]),
  );
  assert.equal(chunks()[1]!.payload[0], UPLOAD_CHUNK_BYTES % 251);
  const total = 6 * UPLOAD_CHUNK_BYTES + last;
  assert.deepEqual(progress[0], [UPLOAD_CHUNK_BYTES, total]);
  assert.deepEqual(progress.at(-1), [total, total]);
  const [end] = link.sentOf("EndUploadRequest");
  assert.deepEqual(end!.header, { upload_id: 3, keep: 1 });
  link.deliver("EndUploadResponse", end!.id, {
    model_path: BEGUN.model_path,
    no_of_workers: 2,
    message: "worker 1: its disk is full",
  });
  assert.deepEqual(await uploaded, {
    path: BEGUN.model_path,
    workers: 2,
    problems: "worker 1: its disk is full",
  });
});

Deno.test("nothing is sent of what all workers have", async () => {
  const { link, clockwork } = setUp();
  const uploaded = clockwork.uploadModel("net", [source("model.onnx", 10)]);
  link.deliver("BeginUploadResponse", link.sent[0]!.id, { ...BEGUN, complete: 1 });
  assert.deepEqual(await uploaded, { path: BEGUN.model_path, workers: null, problems: "" });
  assert.equal(link.sent.length, 1);
});

Deno.test("an upload that fails is forgotten, and rejects with the first reason", async () => {
  const refused = { request_type: 8, status: 1, message: "worker 0 is gone" };
  const file = source("model.onnx", 1e6);
  const shorter = () => Promise.reject(new Error("it has become shorter"));
  const gone = () => {
    throw new Error("it is gone");
  };
  const failures: [RegExp, UploadSource, boolean][] = [
    [/^uploading net failed: worker 0 is gone$/, file, true],
    [
      /^uploading net failed: "model.onnx" cannot be read: it has become shorter$/,
      { ...file, read: shorter },
      false,
    ],
    [
      /^uploading net failed: "model.onnx" cannot be read: it is gone$/,
      { ...file, read: gone },
      false,
    ],
  ];
  for (const [message, file, refuses] of failures) {
    const { link, clockwork } = setUp();
    link.onSent = ({ kind, id }) =>
      queueMicrotask(() => {
        if (kind === "BeginUploadRequest") link.deliver("BeginUploadResponse", id, BEGUN);
        else if (kind === "EndUploadRequest" || refuses) link.deliver("ErrorResponse", id, refused);
        else link.deliver("UploadChunkResponse", id, {});
      });
    await assert.rejects(clockwork.uploadModel("net", [file]), { message });
    const ends = link.sentOf("EndUploadRequest");
    assert.deepEqual(ends.map(({ header }) => header), [{ upload_id: 3, keep: 0 }]);
    assert.ok(link.sentOf("UploadChunkRequest").length <= UPLOAD_WINDOW);
  }
});

Deno.test("what comes after the failure changes nothing", async () => {
  const { link, clockwork } = setUp();
  const reads: ((bytes: Uint8Array) => void)[] = [];
  const slow = (_: number, length: number) =>
    new Promise<Uint8Array>((resolve) => reads.push(() => resolve(new Uint8Array(length))));
  const file = { ...source("model.onnx", 1e6), read: slow };
  const uploaded = clockwork.uploadModel("net", [file]);
  link.deliver("BeginUploadResponse", link.sent[0]!.id, BEGUN);
  const readOne = async () => {
    assert.equal(reads.length, 1, "one piece is read at a time");
    reads.pop()!(new Uint8Array());
    await settle();
  };
  for (let i = 0; i < 3; i++) await readOne();
  const refused = { request_type: 8, status: 1, message: "worker 0 is gone" };
  const chunks = link.sentOf("UploadChunkRequest");
  assert.equal(chunks.length, 3);
  link.deliver("UploadChunkResponse", chunks[0]!.id, {});
  link.deliver("ErrorResponse", chunks[1]!.id, refused);
  link.deliver("ErrorResponse", chunks[2]!.id, { ...refused, message: "another" });
  await readOne();
  assert.equal(link.sentOf("UploadChunkRequest").length, 3);
  const [end, ...more] = link.sentOf("EndUploadRequest");
  assert.deepEqual(more, []);
  link.deliver("EndUploadResponse", end!.id, { model_path: "", no_of_workers: 0, message: "" });
  await assert.rejects(uploaded, { message: "uploading net failed: worker 0 is gone" });

  const none = clockwork.uploadModel("net", [file]);
  link.deliver("ErrorResponse", link.sent.at(-1)!.id, { ...refused, message: "no room" });
  await assert.rejects(none, { message: "uploading net failed: no room" });
});

Deno.test("what ends with the client rejects, though its clock has ended too", async () => {
  const clock = new SystemClock();
  const link = new ScriptedLink();
  const client = new Client(link, clock);
  link.handler = client;
  const clockwork = new ClockworkClient(client, () => clock.close());
  const read = Promise.withResolvers<Uint8Array>();
  const reading = { ...source("model.onnx", 10), read: () => read.promise };
  const uploaded = clockwork.uploadModel("net", [reading]);
  link.deliver("BeginUploadResponse", link.sent[0]!.id, BEGUN);
  await settle();
  const closed = clockwork.close();
  client.onClose("closed");
  await closed;
  read.resolve(new Uint8Array(10));
  await assert.rejects(uploaded, /uploading net failed: the client was closed/);
  await assert.rejects(clockwork.uploadModel("net", [reading]), /the client was closed/);
  await clockwork.close();
});
