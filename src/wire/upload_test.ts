import assert from "node:assert/strict";
import { encodeFrame, FrameParser } from "./frame.ts";
import { MAX_MODELS, MAX_UPLOADS_LISTED } from "./messages.ts";
import {
  MAX_UPLOAD_PATH_LENGTH,
  MAX_UPLOADS_KEPT,
  MAX_UPLOADS_REMOVED,
  uploadBytes,
  type UploadFile,
  uploadOf,
  uploadPath,
  uploadProblem,
} from "./upload.ts";

const ONNX: UploadFile = { name: "model.onnx", size: 3, sha256: "0".repeat(64) };

Deno.test("the same files have the same path, in whatever order, and others have another", () => {
  const weights = { name: "weights.bin", size: 9, sha256: "1".repeat(64) };
  const path = uploadPath("net", [ONNX, weights]);
  assert.match(path, /^uploads\/net\/[0-9a-f]{16}$/);
  assert.equal(uploadPath("net", [weights, ONNX]), path);
  const others = [
    [ONNX],
    [ONNX, { ...weights, size: 8 }],
    [ONNX, { ...weights, name: "w" }],
    [ONNX, { ...weights, sha256: "2".repeat(64) }],
  ];
  for (const files of others) assert.notEqual(uploadPath("net", files), path);
});

Deno.test("only names that are safe everywhere are taken", () => {
  const named = (name: string) => uploadProblem("net", [ONNX, { ...ONNX, name }]);
  for (const name of ["a", "model.onnx_data", "W-1.bin", "_x", "x".repeat(100)]) {
    assert.equal(named(name), null, name);
  }
  const bad = ["", ".", "..", ".hidden", "a/b", "a\\b", "../x", "/etc/passwd", "a\0", "é", "a b"];
  const special = ["x".repeat(101), "upload.json", "uploaded.model.json", "a.", "CON", "nul.txt"];
  for (const name of [...bad, ...special, "C:x", "a\nb"]) {
    assert.match(named(name)!, /is no name for a file/, name);
  }
  for (const name of [...bad, "x".repeat(101), "aux"]) {
    assert.match(uploadProblem(name, [ONNX])!, /is no name for a model/, name);
  }
});

Deno.test("as many files as may be, as small as may be, are taken", () => {
  const weights = Array.from({ length: 63 }, (_, i) => ({ ...ONNX, name: `w${i}`, size: 1 }));
  const files = [ONNX, ...weights];
  assert.equal(uploadProblem("net", files), null);
  assert.equal(uploadBytes(files), 3 + 63);
});

Deno.test("what is no model's files is refused", () => {
  const refusals: [readonly UploadFile[], RegExp][] = [
    [[], /1 to 64 files, not 0/],
    [Array.from({ length: 65 }, (_, i) => ({ ...ONNX, name: `${i}` })), /not 65/],
    [[ONNX, { ...ONNX, name: "Model.ONNX" }], /two files "Model.ONNX"/],
    [[{ ...ONNX, size: 0 }], /is empty/],
    [[{ ...ONNX, sha256: "xyz" }], /not a SHA-256/],
    [[{ ...ONNX, name: "net.onnx" }], /has a file model.onnx, or model.json/],
  ];
  for (const [files, message] of refusals) assert.match(uploadProblem("net", files)!, message);
});

Deno.test("the upload to which a model's path leads is found, whatever way it takes", () => {
  const path = uploadPath("n.-_1", [ONNX]);
  const folder = path.slice("uploads/".length);
  for (
    const way of [
      path,
      `${path}/`,
      `${path}/model.onnx`,
      `/data/up/${folder}`,
      `C:\\up\\${folder.replace("/", "\\")}\\model`,
      `uploads//./x/../${folder}`,
      folder,
    ]
  ) assert.equal(uploadOf(way), path, way);
  const none = ["", "net", "uploads/net", `${path}0`, `${path}/../x`, path.toUpperCase()];
  for (const other of [...none, `uploads/.x/${"0".repeat(16)}`]) {
    assert.equal(uploadOf(other), null, other);
  }
  const longest = uploadPath("x".repeat(100), [ONNX]);
  assert.equal(longest.length, MAX_UPLOAD_PATH_LENGTH);
  assert.equal(uploadOf(longest), longest);
  assert.equal(uploadOf(uploadPath("x".repeat(101), [ONNX])), null);
});

Deno.test("as many uploads as may be fit into the messages that tell of them", () => {
  const paths = (count: number) =>
    Array.from({ length: count }, (_, i) => {
      const number = i.toString(16).padStart(16, "0");
      return `uploads/${"x".repeat(100)}/${number}`;
    });
  const times = { action_received_ns: 0, result_sent_ns: 0 };
  const size = Number.MAX_SAFE_INTEGER;
  const uploads = paths(MAX_UPLOADS_KEPT).map((model_path) => ({ model_path, size }));
  const listed = paths(MAX_UPLOADS_LISTED).map((model_path) => ({
    model_path,
    size,
    no_of_workers: 0xffff_ffff,
    no_of_copies: MAX_MODELS,
  }));
  const frames = [
    encodeFrame("RemoveUploads", 1, { model_paths: paths(MAX_UPLOADS_REMOVED) }, 0, 1, NaN),
    encodeFrame("ListUploadsResult", 1, { ...times, uploads }, 0, 1, NaN),
    encodeFrame("ListUploadsResponse", 1, { uploads: listed }, 0, 1, NaN),
  ];
  const parser = new FrameParser();
  const read = frames.flatMap((frame) => [...parser.feed(frame)]);
  assert.deepEqual(read[0]!.message.header, { model_paths: paths(MAX_UPLOADS_REMOVED) });
  assert.deepEqual(read[1]!.message.header, { ...times, uploads });
  assert.deepEqual(read[2]!.message.header, { uploads: listed });
});
