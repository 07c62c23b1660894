/** Files that hold one request's input: raw tensors, NumPy's .npy, and images. */
import { decode as decodePng } from "fast-png";
import jpeg from "jpeg-js";
import type { BackendModel, DataType, TensorSpec } from "../worker/backend.ts";
import { ELEMENT_BYTES } from "../worker/model_files.ts";

/** An input that does not suit the model. The message says what was expected. */
export class InputFileError extends Error {
  override readonly name = "InputFileError";
}

/** How pixels become values: `(pixel / 255 - mean) / std`, by channel, for models that take floats. */
export interface Normalization {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** An image: rows of pixels, each of 3 bytes. */
export interface Image {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

/** Larger images are not decoded. */
const MAX_PIXELS = 100e6;

const NPY_MAGIC = "\x93NUMPY";

/** NumPy's names of data types, without the byte order. */
const NPY_TYPES: Readonly<Record<string, DataType>> = {
  f4: "float32",
  f2: "float16",
  i8: "int64",
  i4: "int32",
  i1: "int8",
  u8: "uint64",
  u4: "uint32",
  u1: "uint8",
  b1: "bool",
};

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** Reads a .npy file. Throws {@link InputFileError}. */
export function parseNpy(
  bytes: Uint8Array,
): { dtype: DataType; shape: number[]; data: Uint8Array } {
  if (latin1(bytes.subarray(0, 6)) !== NPY_MAGIC || bytes.length < 12) {
    throw new InputFileError("it is not a .npy file");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = bytes[6]! >= 2;
  const begin = wide ? 12 : 10;
  const end = begin + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder("latin1").decode(bytes.subarray(begin, end));
  const descr = /'descr':\s*'([<>|=])(\w+)'/.exec(header);
  const dims = /'shape':\s*\(([\d,\s]*)\)/.exec(header);
  const dtype = NPY_TYPES[descr?.[2] ?? ""];
  if (descr === null || dims === null || dtype === undefined) {
    throw new InputFileError(`its .npy header is not understood: ${header.trim().slice(0, 200)}`);
  }
  if (descr[1] === ">") throw new InputFileError("its values are big-endian; save little-endian");
  if (/'fortran_order':\s*True/.test(header)) {
    throw new InputFileError("it is in Fortran order; save it with numpy.ascontiguousarray");
  }
  const shape = dims[1]!.split(",").map((s) => s.trim()).filter((s) => s !== "").map(Number);
  const size = shape.reduce((product, dim) => product * dim, ELEMENT_BYTES[dtype]);
  const data = bytes.subarray(end);
  if (data.length !== size) {
    throw new InputFileError(`it has ${data.length} bytes of values where [${shape}] has ${size}`);
  }
  return { dtype, shape, data };
}

function isPng(bytes: Uint8Array): boolean {
  return latin1(bytes.subarray(0, 4)) === "\x89PNG";
}

function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}

/** Width × height, as a PNG's first chunk says: a small file may be of a vast image. */
function pngPixels(bytes: Uint8Array): number {
  if (bytes.length < 24) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getUint32(16) * view.getUint32(20);
}

/** Decodes a PNG or JPEG; transparency is dropped, grey becomes three equal channels. */
export function decodeImage(bytes: Uint8Array): Image {
  try {
    if (isJpeg(bytes)) {
      const { width, height, data } = jpeg.decode(bytes, {
        useTArray: true,
        formatAsRGBA: false,
        maxResolutionInMP: MAX_PIXELS / 1e6,
        maxMemoryUsageInMB: 2048,
      });
      return { width, height, rgb: data };
    }
    const pixels = pngPixels(bytes);
    if (pixels > MAX_PIXELS) {
      throw new Error(`it has ${pixels} pixels, of which there may be ${MAX_PIXELS}`);
    }
    const { width, height, data, channels, depth, palette } = decodePng(bytes);
    const rgb = new Uint8Array(3 * width * height);
    // 16-bit images keep the upper byte.
    const shift = depth === 16 ? 8 : 0;
    // Grey values of fewer bits span the same range.
    const scale = depth < 8 && palette === undefined ? 255 / (2 ** depth - 1) : 1;
    for (let i = 0; i < width * height; i++) {
      const colour = palette?.[data[i]!];
      for (let c = 0; c < 3; c++) {
        const at = i * channels + (channels >= 3 ? c : 0);
        rgb[3 * i + c] = colour?.[c] ?? Math.round((data[at]! >> shift) * scale);
      }
    }
    return { width, height, rgb };
  } catch (error) {
    throw new InputFileError(`the image cannot be decoded: ${(error as Error).message}`);
  }
}

/** Scales an image, interpolating between the four nearest pixels; values are 0 to 255. */
export function resize(image: Image, width: number, height: number): Float32Array {
  const out = new Float32Array(3 * width * height);
  const at = (x: number, y: number, c: number) => image.rgb[3 * (y * image.width + x) + c]!;
  for (let y = 0; y < height; y++) {
    const sy = clamp((y + 0.5) * image.height / height - 0.5, image.height - 1);
    const y0 = Math.floor(sy);
    const y1 = Math.min(y0 + 1, image.height - 1);
    for (let x = 0; x < width; x++) {
      const sx = clamp((x + 0.5) * image.width / width - 0.5, image.width - 1);
      const x0 = Math.floor(sx);
      const x1 = Math.min(x0 + 1, image.width - 1);
      for (let c = 0; c < 3; c++) {
        const top = at(x0, y0, c) + (at(x1, y0, c) - at(x0, y0, c)) * (sx - x0);
        const bottom = at(x0, y1, c) + (at(x1, y1, c) - at(x0, y1, c)) * (sx - x0);
        out[3 * (y * width + x) + c] = top + (bottom - top) * (sy - y0);
      }
    }
  }
  return out;
}

function clamp(value: number, max: number): number {
  return Math.min(Math.max(value, 0), max);
}

/** Height, width and order of an input that takes images. Throws when it takes none. */
function imageLayout({ name, shape, batched }: TensorSpec) {
  const dims = batched || shape[0] !== 1 ? shape : shape.slice(1);
  const [a = 0, b = 0, c = 0] = dims;
  if (dims.length === 3) {
    // Three channels rather than one where both would do.
    for (const channels of [3, 1]) {
      if (a === channels) return { channels, height: b, width: c, planar: true };
      if (c === channels) return { channels, height: a, width: b, planar: false };
    }
  }
  throw new InputFileError(
    `input "${name}" is [${shape}]; an image needs [3,height,width] or [height,width,3], or 1 ` +
      "channel",
  );
}

/** Makes a tensor of an image: scaled to the input's size, in its order of dimensions. */
export function imageTensor(image: Image, spec: TensorSpec, norm: Normalization): Uint8Array {
  const { channels, height, width, planar } = imageLayout(spec);
  const pixels = resize(image, width, height);
  const isFloat = spec.dtype === "float32" || spec.dtype === "float16";
  if (!isFloat && spec.dtype !== "uint8") {
    throw new InputFileError(
      `input "${spec.name}" is of ${spec.dtype}; images make floats or uint8`,
    );
  }
  const size = channels * height * width;
  const values = spec.dtype === "float32"
    ? new Float32Array(size)
    : spec.dtype === "float16"
    ? new Float16Array(size)
    : new Uint8Array(size);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < channels; c++) {
      // Grey is the luma of television, as most tools compute it.
      const pixel = channels === 3
        ? pixels[3 * i + c]!
        : 0.299 * pixels[3 * i]! + 0.587 * pixels[3 * i + 1]! + 0.114 * pixels[3 * i + 2]!;
      const mean = norm.mean[c % norm.mean.length]!;
      const std = norm.std[c % norm.std.length]!;
      values[planar ? c * height * width + i : i * channels + c] = isFloat
        ? (pixel / 255 - mean) / std
        : Math.round(pixel);
    }
  }
  return new Uint8Array(values.buffer);
}

/** One input's tensor from the bytes of a file of any of the kinds. */
function tensorOf(bytes: Uint8Array, spec: TensorSpec, norm: Normalization): Uint8Array {
  if (isPng(bytes) || isJpeg(bytes)) return imageTensor(decodeImage(bytes), spec, norm);
  let data = bytes;
  if (latin1(bytes.subarray(0, 6)) === NPY_MAGIC) {
    const npy = parseNpy(bytes);
    if (npy.dtype !== spec.dtype) {
      throw new InputFileError(`it holds ${npy.dtype}; input "${spec.name}" is ${spec.dtype}`);
    }
    data = npy.data;
  }
  if (data.length !== spec.bytes) {
    throw new InputFileError(
      `it has ${data.length} bytes; input "${spec.name}" ${spec.dtype}[${spec.shape}] takes ` +
        `${spec.bytes}`,
    );
  }
  return data;
}

/** A file given for one input, or, without a name, for the model's whole input. */
export interface InputFile {
  readonly input: string | null;
  readonly path: string;
  readonly bytes: Uint8Array;
}

/**
 * One request's input blob. Without a name, a raw file holds all inputs one after the other; any other
 * file, and a file with a name, holds one tensor.
 *
 * @throws {InputFileError} naming the file.
 */
export function inputBlob(
  model: Pick<BackendModel, "inputs" | "inputBytes">,
  files: readonly InputFile[],
  norm: Normalization,
): Uint8Array {
  const whole = files.find(({ input }) => input === null);
  if (whole !== undefined && whole.bytes.length === model.inputBytes && files.length === 1) {
    return whole.bytes;
  }
  const blob = new Uint8Array(model.inputBytes);
  const known = model.inputs.map(({ name }) => name);
  const names = known.join(", ");
  for (const { input, path } of files) {
    if (input === null ? model.inputs.length > 1 || files.length > 1 : !known.includes(input)) {
      const several = model.inputs.length > 1 || files.length > 1;
      throw new InputFileError(
        several && input === null
          ? `${path}: give one raw file of ${model.inputBytes} bytes, or a file for each input, as ` +
            `--input NAME=FILE; the inputs are: ${names}`
          : `${path}: there is no input "${input}"; the inputs are: ${names}`,
      );
    }
  }
  let offset = 0;
  for (const spec of model.inputs) {
    const file = files.find(({ input }) => input === null || input === spec.name);
    if (file === undefined) {
      throw new InputFileError(`no file for input "${spec.name}": give --input ${spec.name}=FILE`);
    }
    try {
      blob.set(tensorOf(file.bytes, spec, norm), offset);
    } catch (error) {
      if (!(error instanceof InputFileError)) throw error;
      throw new InputFileError(`${file.path}: ${error.message}`);
    }
    offset += spec.bytes;
  }
  return blob;
}
