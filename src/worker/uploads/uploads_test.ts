/** What a worker makes of uploads that go well, that do not, and that end halfway. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { SECOND } from "../../core/clock.ts";
import { VirtualClock } from "../../core/virtual_clock.ts";
import type { ActionKind } from "../../wire/describe.ts";
import type { Header } from "../../wire/messages.ts";
import {
  MAX_UPLOADS_KEPT,
  MAX_UPLOADS_REMOVED,
  UPLOAD_CHUNK_BYTES,
  type UploadFile,
  uploadPath,
} from "../../wire/upload.ts";
import type { Requester } from "../action.ts";
import { MemoryUploadStore } from "./memory_store.ts";
import { DEFAULT_UPLOAD_LIMITS, type UploadAction, type UploadLimits, Uploads } from "./uploads.ts";

type UploadKind = UploadAction["kind"];

function fileOf(name: string, contents: Uint8Array): UploadFile {
  const sha256 = createHash("sha256").update(contents).digest("hex");
  return { name, size: contents.length, sha256 };
}

const BYTES = Uint8Array.from({ length: UPLOAD_CHUNK_BYTES + 10 }, (_, i) => i * 7);
const ONNX = fileOf("model.onnx", BYTES);
const JSON_BYTES = new TextEncoder().encode("{}");
const JSON_FILE = fileOf("model.json", JSON_BYTES);

function rig(limits: Partial<UploadLimits> = {}) {
  const clock = new VirtualClock();
  const store = new MemoryUploadStore();
  const uploads = new Uploads(clock, store, { ...DEFAULT_UPLOAD_LIMITS, ...limits });
  let answer = "";
  let payload: Uint8Array | undefined;
  const requester = (): Requester => ({
    onSuccess: (_action, result, bytes) => {
      assert.equal(answer, "", "answered once");
      payload = bytes?.[0];
      answer = JSON.stringify(result);
    },
    onFailure: (_action, status, message) => {
      assert.equal(answer, "", "answered once");
      answer = `${status} ${message}`;
    },
    onAbandoned: () => assert.fail("never abandoned"),
  });
  const someone = requester();
  /** Uploads that models need. */
  const loaded = new Set<string>();
  /** Does an action, and returns what it was answered: `{…}`, or a status and a message. */
  const act = <K extends UploadKind>(
    kind: K,
    header: Header<K & ActionKind>,
    bytes: Uint8Array = new Uint8Array(0),
    from = someone,
  ): string => {
    answer = "";
    uploads.submit({ kind, id: 1, header, payload: bytes } as never, from, () => loaded);
    assert.notEqual(answer, "", "answered at once");
    return answer;
  };
  const begin = (files: readonly UploadFile[], id = 1, from = someone) =>
    act("BeginUpload", { upload_id: id, model_name: "net", files }, undefined, from);
  const chunk = (offset: number, bytes: Uint8Array, file = 0, id = 1) =>
    act("UploadChunk", { upload_id: id, file, offset }, bytes);
  const end = (keep = 1, id = 1) => act("EndUpload", { upload_id: id, keep });
  return {
    clock,
    store,
    uploads,
    loaded,
    act,
    begin,
    chunk,
    end,
    requester,
    payload: () => payload,
  };
}

/** Sends both files whole. */
function sendAll({ chunk }: ReturnType<typeof rig>): void {
  assert.equal(chunk(0, BYTES.slice(0, UPLOAD_CHUNK_BYTES)), "{}");
  assert.equal(chunk(UPLOAD_CHUNK_BYTES, BYTES.slice(UPLOAD_CHUNK_BYTES)), "{}");
  assert.equal(chunk(0, JSON_BYTES, 1), "{}");
}

Deno.test("an upload is kept whole, can be read, and is not taken twice", () => {
  const all = rig();
  const { store, begin, end, act, uploads } = all;
  const files = [ONNX, JSON_FILE];
  assert.equal(begin(files), '{"complete":0}');
  sendAll(all);
  assert.equal(store.kept.size, 0, "not before it is told to");
  assert.equal(end(), "{}");
  const path = uploadPath("net", files);
  assert.deepEqual(store.kept.get(path)!.contents.get("model.onnx"), BYTES);
  assert.equal(begin(files, 2), '{"complete":1}');
  const read = (file: number, offset: number, length: number) =>
    act("ReadUpload", { model_path: path, file, offset, length });
  assert.deepEqual(JSON.parse(read(0, 0, 0)).files, files);
  assert.equal(read(0, 5, 10), '{"files":[]}');
  assert.deepEqual(all.payload(), BYTES.slice(5, 15));
  assert.match(read(2, 0, 0), /^41 there is no upload .* with a file 2/);
  assert.match(
    act("ReadUpload", { model_path: "uploads/x", file: 0, offset: 0, length: 0 }),
    /^41/,
  );
  assert.equal(uploads.active, 0);
  assert.equal(store.partial, 0);
});

Deno.test("pieces that do not fit, or are not what was announced, end the upload", () => {
  const first = BYTES.slice(0, UPLOAD_CHUNK_BYTES);
  const wrong: [string, (all: ReturnType<typeof rig>) => string, RegExp][] = [
    ["a gap", ({ chunk }) => chunk(1, first), /at 1 came, where one .* at 0 should/],
    ["another file", ({ chunk }) => chunk(0, first, 1), /file 1 .* is not the one/],
    ["too large", ({ chunk }) => chunk(0, BYTES), /of 65546 bytes at 0 came/],
    ["empty", ({ chunk }) => chunk(0, new Uint8Array(0)), /of 0 bytes/],
    ["too long", ({ chunk }) => (chunk(0, first), chunk(UPLOAD_CHUNK_BYTES, first)), /is longer/],
    [
      "other bytes",
      ({ chunk }) => (chunk(0, first), chunk(UPLOAD_CHUNK_BYTES, new Uint8Array(10))),
      /^12 the checksum of "model.onnx" is [0-9a-f]{64}, not/,
    ],
    ["an early end", ({ chunk, end }) => (chunk(0, first), end()), /"model.onnx" is not complete/],
    [
      "a full disk",
      ({ store, chunk }) => (store.problem = "disk full", chunk(0, first)),
      /"model.onnx" cannot be written: disk full/,
    ],
  ];
  for (const [what, send, message] of wrong) {
    const all = rig();
    all.begin([ONNX, JSON_FILE]);
    assert.match(send(all), message, what);
    assert.match(all.chunk(0, first), /there is no upload 1/, what);
    assert.match(all.end(), /there is no upload 1/, what);
    assert.deepEqual([all.store.partial, all.store.kept.size, all.uploads.active], [0, 0, 0], what);
  }
});

Deno.test("more than a window of pieces that have not been written end the upload", () => {
  const all = rig();
  const big = new Uint8Array(10 * UPLOAD_CHUNK_BYTES);
  const pending: (() => void)[] = [];
  const create = all.store.create.bind(all.store);
  all.store.create = (path, files) => ({
    ...create(path, files),
    write: (_file, _bytes, done) => void pending.push(() => done("")),
  });
  all.begin([fileOf("model.onnx", big)]);
  const answers: string[] = [];
  const requester: Requester = {
    onSuccess: () => answers.push("ok"),
    onFailure: (_action, _status, message) => answers.push(message),
    onAbandoned: () => {},
  };
  all.uploads.submit(
    {
      kind: "BeginUpload",
      id: 0,
      header: { upload_id: 5, model_name: "net2", files: [fileOf("model.onnx", big)] },
      payload: new Uint8Array(0),
    },
    requester,
    () => all.loaded,
  );
  for (let i = 0; i < 5; i++) {
    const payload = big.slice(0, UPLOAD_CHUNK_BYTES);
    const header = { upload_id: 5, file: 0, offset: i * UPLOAD_CHUNK_BYTES };
    all.uploads.submit(
      { kind: "UploadChunk", id: i, header, payload },
      requester,
      () => all.loaded,
    );
  }
  assert.deepEqual(answers, ["ok", "more than 262144 bytes came before any were written"]);
  for (const write of pending) write();
  assert.equal(answers.length, 6, "each is answered");
});

Deno.test("what is cancelled, abandoned or idle for too long is forgotten", () => {
  for (const how of ["cancelled", "abandoned", "idle", "closed"]) {
    const all = rig({ idleNs: 10 * SECOND });
    const owner = all.requester();
    const begin = { upload_id: 1, model_name: "net", files: [ONNX] };
    all.act("BeginUpload", begin, undefined, owner);
    const chunk = { upload_id: 1, file: 0, offset: 0 };
    all.clock.advance(9 * SECOND);
    const first = BYTES.slice(0, UPLOAD_CHUNK_BYTES);
    assert.match(all.act("UploadChunk", chunk, first), /no upload/, "another's");
    assert.equal(all.act("UploadChunk", chunk, first, owner), "{}");
    all.clock.advance(9 * SECOND);
    assert.equal(all.uploads.active, 1, "not idle for too long");
    if (how === "cancelled") all.act("EndUpload", { upload_id: 1, keep: 0 }, undefined, owner);
    else if (how === "abandoned") all.uploads.abandon(owner);
    else if (how === "closed") all.uploads.close();
    else all.clock.advance(2 * SECOND);
    assert.deepEqual([all.store.partial, all.store.kept.size, all.uploads.active], [0, 0, 0], how);
    assert.equal(all.end(0), "{}", "cancelled twice is cancelled");
  }
});

Deno.test("uploads are listed and removed, but not those that models need", () => {
  const all = rig({ maxTotalBytes: ONNX.size + JSON_FILE.size });
  const { begin, end, act, loaded, store } = all;
  const files = [ONNX, JSON_FILE];
  const path = uploadPath("net", files);
  const list = () => JSON.parse(act("ListUploads", {})).uploads;
  const remove = (...model_paths: string[]) => act("RemoveUploads", { model_paths });
  const nothing = '{"no_of_uploads":0,"message":""}';
  assert.deepEqual(list(), []);
  assert.equal(remove(), nothing);
  begin(files);
  sendAll(all);
  end();
  assert.deepEqual(list(), [{ model_path: path, size: ONNX.size + JSON_FILE.size }]);
  loaded.add(path);
  assert.equal(
    remove(path, "uploads/other/0123456789abcdef"),
    `{"no_of_uploads":0,"message":"${path}: models of it are loaded: unload them first"}`,
  );
  loaded.clear();
  store.problem = "disk broken";
  assert.equal(remove(path), `{"no_of_uploads":0,"message":"${path}: disk broken"}`);
  store.problem = "";
  assert.match(begin([JSON_FILE], 2), /has 0 left/, "it is full");
  assert.equal(remove(path), '{"no_of_uploads":1,"message":""}');
  assert.deepEqual(list(), []);
  assert.equal(remove(path), nothing, "removed twice is removed");
  assert.equal(begin([JSON_FILE], 2), '{"complete":0}', "there is room again");
});

Deno.test("what a worker tells of uploads fits into a message, whatever it has", () => {
  const { act, loaded, store } = rig();
  const paths = Array.from(
    { length: MAX_UPLOADS_KEPT + 1 },
    (_, i) => `uploads/net/${i.toString(16).padStart(16, "0")}`,
  );
  for (const path of paths) store.kept.set(path, { files: [ONNX], contents: new Map() });
  assert.equal(JSON.parse(act("ListUploads", {})).uploads.length, MAX_UPLOADS_KEPT);
  for (const path of paths) loaded.add(path);
  const told = act("RemoveUploads", { model_paths: paths.slice(0, MAX_UPLOADS_REMOVED) });
  assert.equal(JSON.parse(told).message.length, 4096);
});

Deno.test("a worker that seems to be full looks whether it is", () => {
  const { store, begin } = rig({ maxTotalBytes: ONNX.size });
  const known = new Map([["uploads/gone/0123456789abcdef", ONNX.size]]);
  const looks: (() => void)[] = [];
  Object.defineProperty(store, "sizes", { value: known });
  store.refresh = (done) => {
    looks.push(done);
    known.clear();
    done();
  };
  assert.equal(begin([ONNX]), '{"complete":0}');
  assert.equal(looks.length, 1);
});

Deno.test("a controller that leaves while a worker looks whether it is full has begun nothing", () => {
  for (const how of ["stays", "leaves", "closed"]) {
    const { store, begin, end, uploads, requester } = rig({ maxTotalBytes: ONNX.size });
    const looks: (() => void)[] = [];
    store.refresh = (done) => void looks.push(done);
    begin([ONNX]);
    const answers: string[] = [];
    const owner: Requester = {
      ...requester(),
      onSuccess: () => answers.push("begun"),
      onFailure: (_action, _status, message) => answers.push(message),
    };
    const header = { upload_id: 2, model_name: "net2", files: [ONNX] };
    const payload = new Uint8Array(0);
    uploads.submit({ kind: "BeginUpload", id: 0, header, payload }, owner, () => new Set());
    assert.deepEqual([looks.length, answers.length], [1, 0]);
    end(0);
    if (how === "leaves") uploads.abandon(owner);
    if (how === "closed") uploads.close();
    looks[0]!();
    assert.deepEqual(answers, [how === "stays" ? "begun" : "its controller has left"], how);
    assert.equal(store.partial, how === "stays" ? 1 : 0, how);
  }
});

Deno.test("each limit is refused with what to do", () => {
  const small = rig({ maxUploadBytes: 100 });
  assert.match(small.begin([ONNX]), /has 65546 bytes, and .* 100 at most: raise --max-upload-size/);
  const full = rig({ maxTotalBytes: ONNX.size + 1 });
  assert.equal(full.begin([ONNX]), '{"complete":0}');
  assert.match(
    full.begin([JSON_FILE], 2),
    /of 65547 for uploads this worker has 1 left: remove uploads by `clockwork models remove`, or/,
  );
  const many = rig({ maxKept: 1 });
  assert.equal(many.begin([ONNX]), '{"complete":0}');
  assert.match(many.begin([JSON_FILE], 2), /has 1 uploads, as many as it keeps: remove uploads by/);
  const busy = rig({ maxUploads: 1 });
  busy.begin([ONNX]);
  assert.match(busy.begin([JSON_FILE], 2), /1 uploads are under way, the limit/);
  const twice = rig();
  twice.begin([ONNX]);
  assert.match(twice.begin([JSON_FILE], 1), /upload 1 is under way already/);
  assert.match(twice.begin([{ ...ONNX, name: "../x" }], 3), /no name for a file/);
});
