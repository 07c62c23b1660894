import assert from "node:assert/strict";
import { encode as encodePng } from "fast-png";
import jpeg from "jpeg-js";
import type { DataType, TensorSpec } from "../worker/backend.ts";
import { ELEMENT_BYTES } from "../worker/model_files.ts";
import {
  decodeImage,
  imageTensor,
  inputBlob,
  type InputFile,
  InputFileError,
  parseNpy,
  resize,
} from "./input_files.ts";

const AS_IS = { mean: [0], std: [1] };

function spec(name: string, shape: number[], dtype: DataType = "float32"): TensorSpec {
  const bytes = shape.reduce((a, b) => a * b, ELEMENT_BYTES[dtype]);
  return { name, dtype, shape, batched: true, bytes };
}

function npy(descr: string, shape: string, data: Uint8Array, fortran = false): Uint8Array {
  const text = `{'descr': '${descr}', 'fortran_order': ${fortran ? "True" : "False"}, ` +
    `'shape': ${shape}, }\n`;
  const header = new TextEncoder().encode(text);
  const bytes = new Uint8Array(10 + header.length + data.length);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, header.length, 0]);
  bytes.set(header, 10);
  bytes.set(data, 10 + header.length);
  return bytes;
}

function file(bytes: Uint8Array, input: string | null = null): InputFile {
  return { input, path: "file", bytes };
}

/** Two pixels wide, one high: red and blue. */
const RED_BLUE = Uint8Array.of(255, 0, 0, 0, 0, 255);

Deno.test(".npy files are read by type and shape", () => {
  const data = new Uint8Array(Float32Array.of(1, 2, 3).buffer);
  const read = parseNpy(npy("<f4", "(1, 3)", data));
  assert.deepEqual([read.dtype, read.shape, read.data.length], ["float32", [1, 3], 12]);
  assert.deepEqual(parseNpy(npy("|u1", "(2,)", Uint8Array.of(7, 8))).data, Uint8Array.of(7, 8));
  assert.deepEqual(parseNpy(npy("<i8", "()", new Uint8Array(8))).shape, []);
  const bad: [Uint8Array, RegExp][] = [
    [npy(">f4", "(3,)", data), /big-endian/],
    [npy("<f4", "(3, 1)", data, true), /Fortran order/],
    [npy("<f4", "(4,)", data), /12 bytes of values where \[4\] has 16/],
    [npy("<c8", "(3,)", data), /not understood/],
    [Uint8Array.of(1, 2, 3), /not a \.npy file/],
  ];
  for (const [bytes, message] of bad) assert.throws(() => parseNpy(bytes), message);
});

Deno.test("PNG and JPEG are decoded to rows of red, green and blue", () => {
  const png = encodePng({ width: 2, height: 1, data: RED_BLUE, channels: 3 });
  assert.deepEqual(decodeImage(png), { width: 2, height: 1, rgb: RED_BLUE });
  const grey = encodePng({ width: 2, height: 1, data: Uint8Array.of(9, 200), channels: 1 });
  assert.deepEqual(decodeImage(grey).rgb, Uint8Array.of(9, 9, 9, 200, 200, 200));
  const rgba = encodePng({
    width: 1,
    height: 1,
    data: Uint8Array.of(1, 2, 3, 128),
    channels: 4,
  });
  assert.deepEqual(decodeImage(rgba).rgb, Uint8Array.of(1, 2, 3));
  const flat = jpeg.encode({ width: 8, height: 8, data: new Uint8Array(256).fill(100) }, 95);
  const decoded = decodeImage(flat.data);
  assert.deepEqual([decoded.width, decoded.height, decoded.rgb.length], [8, 8, 192]);
  assert.ok(decoded.rgb.every((value) => Math.abs(value - 100) <= 2));
  assert.throws(
    () => decodeImage(png.subarray(0, 20)),
    (error) => error instanceof InputFileError && /cannot be decoded/.test(error.message),
  );
  const vast = png.slice();
  new DataView(vast.buffer).setUint32(16, 20_001);
  new DataView(vast.buffer).setUint32(20, 5000);
  assert.throws(
    () => decodeImage(vast),
    /cannot be decoded: it has 100005000 pixels, of which there may be 100000000$/,
  );
});

Deno.test("images are scaled between pixels", () => {
  const image = { width: 2, height: 1, rgb: RED_BLUE };
  assert.deepEqual([...resize(image, 2, 1)], [...RED_BLUE]);
  assert.deepEqual([...resize(image, 1, 1)], [127.5, 0, 127.5]);
  const wide = resize(image, 4, 1);
  assert.deepEqual([wide[0], wide[3], wide[6], wide[9]], [255, 191.25, 63.75, 0]);
});

Deno.test("an image takes the order and the type of the model's input", () => {
  const image = { width: 2, height: 1, rgb: RED_BLUE };
  const floats = (tensor: Uint8Array) => [...new Float32Array(tensor.buffer)];
  assert.deepEqual(floats(imageTensor(image, spec("x", [3, 1, 2]), AS_IS)), [1, 0, 0, 0, 0, 1]);
  assert.deepEqual(floats(imageTensor(image, spec("x", [1, 2, 3]), AS_IS)), [1, 0, 0, 0, 0, 1]);
  const norm = { mean: [0.5, 0, 0], std: [0.5, 1, 2] };
  const planar = imageTensor(image, spec("x", [3, 1, 2]), norm);
  assert.deepEqual(floats(planar), [1, -1, 0, 0, 0, 0.5]);
  const bytes = imageTensor(image, spec("x", [1, 2, 3], "uint8"), norm);
  assert.deepEqual(bytes, RED_BLUE, "bytes are left as they are");
  const grey = imageTensor(image, spec("x", [1, 1, 2], "uint8"), AS_IS);
  assert.deepEqual(grey, Uint8Array.of(76, 29));
  assert.throws(() => imageTensor(image, spec("x", [5, 5]), AS_IS), /an image needs/);
  assert.throws(() => imageTensor(image, spec("x", [3, 2, 2], "int64"), AS_IS), /is of int64/);
});

Deno.test("one raw file holds all inputs; other files hold one each, by name", () => {
  const model = { inputs: [spec("a", [2], "uint8"), spec("b", [1])], inputBytes: 6 };
  const raw = Uint8Array.of(1, 2, 3, 4, 5, 6);
  assert.deepEqual(inputBlob(model, [file(raw)], AS_IS), raw);
  const b = npy("<f4", "(1,)", Uint8Array.of(3, 4, 5, 6));
  const named = [file(b, "b"), file(Uint8Array.of(1, 2), "a")];
  assert.deepEqual(inputBlob(model, named, AS_IS), raw);
  const single = { inputs: [spec("a", [2], "uint8")], inputBytes: 2 };
  assert.deepEqual(
    inputBlob(single, [file(npy("|u1", "(1, 2)", Uint8Array.of(7, 8)))], AS_IS),
    Uint8Array.of(7, 8),
  );
  const bad: [InputFile[], RegExp][] = [
    [[file(b, "b")], /no file for input "a": give --input a=FILE/],
    [[file(b)], /give one raw file of 6 bytes, or a file for each input.*a, b/],
    [[file(b, "c"), ...named], /there is no input "c"; the inputs are: a, b/],
    [[file(b, "a"), file(b, "b")], /it holds float32; input "a" is uint8/],
    [[file(raw, "a"), file(b, "b")], /it has 6 bytes; input "a" uint8\[2\] takes 2/],
  ];
  for (const [files, message] of bad) {
    assert.throws(() => inputBlob(model, files, AS_IS), message);
  }
});
