import assert from "node:assert/strict";
import { type UploadFile, uploadPath, uploadProblem } from "./upload.ts";

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
