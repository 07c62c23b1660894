/** Opens this thread's device, and verifies that it computes before it is used. */
import { cpus, tmpdir } from "node:os";
import { BufferWatch } from "./buffer_watch.ts";
import { createSession, loadOrt, type Ort, type OrtSession } from "./ort.ts";
import { PagePool } from "./page_pool.ts";
import { encodeModel } from "./proto.ts";
import type { DeviceInfo, OpenRequest } from "./protocol.ts";

/** What a thread has of a GPU. */
export interface Gpu {
  readonly device: GPUDevice;
  readonly watch: BufferWatch;
  /** Memory for weights. */
  readonly pool: PagePool;
  readonly pageBytes: number;
}

export interface Device {
  readonly info: DeviceInfo;
  readonly ort: Ort;
  /** Null when models run on the CPU. */
  readonly gpu: Gpu | null;
  /** What ONNX Runtime calls it. */
  readonly executionProvider: "webgpu" | "wasm";
}

/** Just enough of `navigator.gpu` for ONNX Runtime. */
interface WebGpu {
  requestAdapter(options?: GPURequestAdapterOptions): Promise<GPUAdapter | null>;
}

// Names of the programs that emulate a GPU on the CPU.
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|basic render|\bwarp\b/i;

/** Dawn as a Node-API addon: engine and globals. Throws when there is no addon for this machine. */
async function loadDawn(adapter: string | null): Promise<WebGpu> {
  const dawn = await import("webgpu") as unknown as {
    create(options: string[]): WebGpu;
    globals: { GPUQueue: { prototype: GPUQueue } } & Record<string, unknown>;
  };
  Object.assign(globalThis, dawn.globals);
  copySharedUploads(dawn.globals.GPUQueue.prototype);
  return dawn.create(adapter === null ? [] : [`adapter=${adapter}`]);
}

/**
 * Dawn's `writeBuffer` does not take views of shared memory, and brings the process down under Deno;
 * ONNX Runtime uploads from its heap, which is shared.
 */
function copySharedUploads(queue: GPUQueue): void {
  const writeBuffer = queue.writeBuffer;
  queue.writeBuffer = function (
    this: GPUQueue,
    buffer: GPUBuffer,
    bufferOffset: number,
    data: BufferSource,
    dataOffset = 0,
    size?: number,
  ): undefined {
    const shared = (ArrayBuffer.isView(data) ? data.buffer : data) as ArrayBufferLike;
    if (!(shared instanceof SharedArrayBuffer)) {
      return size === undefined
        ? writeBuffer.call(this, buffer, bufferOffset, data, dataOffset)
        : writeBuffer.call(this, buffer, bufferOffset, data, dataOffset, size);
    }
    // Offset and size count elements of a typed array, bytes of anything else.
    const view = ArrayBuffer.isView(data) ? data : new Uint8Array(shared);
    const unit = (view as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? 1;
    const begin = view.byteOffset + dataOffset * unit;
    const end = size === undefined ? view.byteOffset + view.byteLength : begin + size * unit;
    return writeBuffer.call(this, buffer, bufferOffset, new Uint8Array(shared).slice(begin, end));
  } as typeof queue.writeBuffer;
}

/**
 * Names of the adapters that Dawn finds, which it tells only when it is asked for one that there is not.
 * Several of the same model have the same name, by which Dawn gives the first of them.
 */
export async function listAdapters(): Promise<string[]> {
  hushWindowSystem();
  try {
    await (await loadDawn("no adapter has this name")).requestAdapter();
  } catch (error) {
    return [...(error as Error).message.matchAll(/name: '([^']*)'/g)].map((match) => match[1]!);
  }
  return [];
}

/** Dawn names the GPU in `device` and its driver in `description`; Deno has only numbers in the first. */
function describeAdapter(adapter: GPUAdapter): string {
  const { device, description, architecture, vendor } = adapter.info;
  const name = [device, description, architecture, vendor].find((text) => /[a-z]/i.test(text));
  return name?.replace(/[-\s]+$/, "") ?? "unknown GPU";
}

/**
 * Vulkan's window-system parts print an error for each instance when this is not set, though no window is
 * ever opened; any directory contents them.
 */
function hushWindowSystem(): void {
  if (Deno.build.os !== "linux" || Deno.env.has("XDG_RUNTIME_DIR")) return;
  Deno.env.set("XDG_RUNTIME_DIR", tmpdir());
}

/** An adapter, what it is called, and whether it emulates a GPU on the CPU. */
export interface FoundAdapter {
  readonly gpu: WebGpu;
  readonly adapter: GPUAdapter;
  readonly name: string;
  readonly software: boolean;
}

/** Finds an adapter, by name where the engine can. Throws when there is none. */
export async function findAdapter(
  kind: "dawn" | "deno",
  adapterName: string | null,
): Promise<FoundAdapter> {
  hushWindowSystem();
  const gpu: WebGpu | undefined = kind === "dawn" ? await loadDawn(adapterName) : navigator.gpu;
  if (gpu === undefined) throw new Error("this Deno has no WebGPU");
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("no adapter: no driver that it can use was found");
  const { description, device, architecture } = adapter.info;
  const software = adapter.info.isFallbackAdapter ||
    SOFTWARE.test(`${description} ${device} ${architecture}`);
  // By the name that it was asked for, the user may ask for it again.
  return { gpu, adapter, name: adapterName ?? describeAdapter(adapter), software };
}

interface OpenedAdapter {
  readonly name: string;
  readonly software: boolean;
  /** Resolves when the device has been made. */
  readonly watch: Promise<BufferWatch>;
}

async function openAdapter(
  kind: "dawn" | "deno",
  adapterName: string | null,
): Promise<OpenedAdapter> {
  const { gpu, adapter, name, software } = await findAdapter(kind, adapterName);
  const watch = Promise.withResolvers<BufferWatch>();
  const { requestDevice } = adapter;
  adapter.requestDevice = async (descriptor) => {
    const device = await requestDevice.call(adapter, descriptor);
    watch.resolve(new BufferWatch(device));
    return device;
  };
  // ONNX Runtime asks navigator.gpu for an adapter. An adapter gives one device only, so that the same
  // one can be handed out once; a lost device needs a new thread anyway.
  Object.defineProperty(navigator, "gpu", {
    // `gpu` is kept for good: Dawn frees everything with it.
    value: { gpu, requestAdapter: () => Promise.resolve(adapter) },
    configurable: true,
  });
  return { name, software, watch: watch.promise };
}

/** y = x + x for four numbers. */
function probeModel(): Uint8Array {
  const tensor = { tensorType: { elemType: 1, shape: { dim: [{ dimValue: 4 }] } } };
  return encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 13 }],
    graph: {
      name: "probe",
      node: [{ opType: "Add", input: ["x", "x"], output: ["y"] }],
      initializer: [],
      input: [{ name: "x", type: tensor }],
      output: [{ name: "y", type: tensor }],
    },
  });
}

// Releasing the last WebGPU session destroys the device, so that one session stays for good.
let keptAlive: OrtSession | undefined;

async function probe(ort: Ort, executionProvider: string): Promise<void> {
  keptAlive = await createSession(ort, executionProvider, probeModel());
  const x = new ort.Tensor("float32", Float32Array.of(1, -2, 3.5, 1e6), [4]);
  const y = (await keptAlive.run({ x }))["y"]?.data;
  if (String(y) !== "2,-4,7,2000000") {
    throw new Error(`it computed 2·(1, -2, 3.5, 1000000) as (${y})`);
  }
}

function processorName(): string {
  try {
    return cpus()[0]?.model.trim() || Deno.build.arch;
  } catch {
    // Without --allow-sys.
    return Deno.build.arch;
  }
}

const GIB = 2 ** 30;
/** Larger pages are made of several buffers. */
const LARGEST_BUFFER_BYTES = GIB / 4;

/** WebGPU does not tell how much memory a device has, only how large one buffer may be. */
function weightsCacheBytes(software: boolean, maxBufferBytes: number): number {
  return software ? GIB : Math.min(Math.max(maxBufferBytes, GIB), 4 * GIB);
}

/**
 * Opens a device. A thread can open one, once.
 *
 * @throws when there is none, or it does not compute correctly.
 */
export async function openDevice(request: OpenRequest): Promise<Device> {
  const { target: { kind, adapter }, pageBytes } = request;
  if (kind === "wasm") {
    const ort = await loadOrt();
    await probe(ort, "wasm");
    const name = processorName();
    return {
      info: {
        kind,
        name: `${name} (wasm, 1 thread)`,
        profileKey: `wasm/${name}`,
        software: false,
        weightsCacheBytes: request.weightsCacheBytes ?? GIB,
        runtime: `onnxruntime-web ${ort.env.versions.web}`,
      },
      ort,
      gpu: null,
      executionProvider: "wasm",
    };
  }
  const { name, software, watch } = await openAdapter(kind, adapter);
  const ort = await loadOrt();
  await probe(ort, "webgpu");
  const device = await ort.env.webgpu.device;
  const cacheBytes = request.weightsCacheBytes ??
    weightsCacheBytes(software, device.limits.maxBufferSize);
  // A buffer is one page at least, which a device may not allow where a user does.
  const bufferBytes = Math.min(pageBytes, device.limits.maxBufferSize, LARGEST_BUFFER_BYTES);
  return {
    info: {
      kind,
      name: `${name} (${kind === "dawn" ? "Dawn" : "Deno WebGPU"}${software ? ", software" : ""})`,
      profileKey: `${kind}/${name}`,
      software,
      weightsCacheBytes: cacheBytes,
      runtime: `onnxruntime-web ${ort.env.versions.web}`,
    },
    ort,
    gpu: {
      device,
      watch: await watch,
      pool: new PagePool(device, cacheBytes),
      pageBytes: bufferBytes,
    },
    executionProvider: "webgpu",
  };
}
