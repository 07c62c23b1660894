/**
 * Device memory for weights: buffers of one page, and of several for the few tensors that are larger than a
 * page. Returned buffers are reused, so that in the long run loading weights allocates nothing.
 */
import { ActionStatus } from "../../core/status.ts";
import { OperationError } from "./protocol.ts";

/** What the pool needs of a device. */
export type PoolDevice = Pick<GPUDevice, "createBuffer" | "pushErrorScope" | "popErrorScope">;

/** Where each of some tensors is in a set of buffers. */
export interface PageLayout {
  /** Size of each buffer, in bytes. */
  readonly bufferBytes: readonly number[];
  /** One for each tensor, in the order given. */
  readonly places: readonly { readonly buffer: number; readonly offset: number }[];
  /** Sum of `bufferBytes`. */
  readonly totalBytes: number;
}

/** Offsets at which any device can bind a part of a buffer. */
const ALIGNMENT = 256;

function alignUp(size: number, unit: number): number {
  return Math.ceil(size / unit) * unit;
}

/** Puts tensors into pages: the largest first, each into the first page that has room. */
export function layOut(sizes: readonly number[], pageBytes: number): PageLayout {
  const order = sizes.map((_, i) => i).sort((a, b) => sizes[b]! - sizes[a]! || a - b);
  const used: number[] = [];
  const bufferBytes: number[] = [];
  const places = new Array<{ buffer: number; offset: number }>(sizes.length);
  for (const i of order) {
    const size = alignUp(sizes[i]!, ALIGNMENT);
    let buffer = used.findIndex((bytes, b) => bytes + size <= bufferBytes[b]!);
    if (buffer < 0) {
      buffer = used.push(0) - 1;
      bufferBytes.push(Math.max(1, Math.ceil(size / pageBytes)) * pageBytes);
    }
    places[i] = { buffer, offset: used[buffer]! };
    used[buffer]! += size;
  }
  return { bufferBytes, places, totalBytes: bufferBytes.reduce((sum, bytes) => sum + bytes, 0) };
}

export class PagePool {
  readonly #gpu: PoolDevice;
  readonly #limitBytes: number;
  /** Buffers that nobody uses, by size, the one used last at the end. */
  readonly #free = new Map<number, GPUBuffer[]>();
  #freeBytes = 0;
  #usedBytes = 0;

  /** @param limitBytes at most so many bytes are kept, used ones included. */
  constructor(gpu: PoolDevice, limitBytes: number) {
    this.#gpu = gpu;
    this.#limitBytes = limitBytes;
  }

  /** Bytes of buffers that were taken and not given back. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Bytes of buffers kept for later. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /**
   * Takes buffers of these sizes.
   *
   * @throws {OperationError} loadWeightsInsufficientCache when the device has no memory left.
   */
  async take(sizes: readonly number[]): Promise<GPUBuffer[]> {
    const totalBytes = sizes.reduce((sum, size) => sum + size, 0);
    const buffers: (GPUBuffer | undefined)[] = sizes.map((size) => this.#recycled(size));
    const missing = sizes.filter((_, i) => buffers[i] === undefined);
    if (missing.length > 0) {
      this.#trim(this.#limitBytes - totalBytes);
      let made = await this.#allocate(missing);
      if (typeof made === "string" && this.#freeBytes > 0) {
        // Buffers of other sizes may be what is in the way.
        this.#trim(-Infinity);
        made = await this.#allocate(missing);
      }
      if (typeof made === "string") {
        for (const buffer of buffers) if (buffer !== undefined) this.#keep(buffer);
        throw new OperationError(
          ActionStatus.loadWeightsInsufficientCache,
          `the device has no memory left for ${totalBytes} bytes of weights: ${made}`,
        );
      }
      for (let i = 0; i < buffers.length; i++) buffers[i] ??= made.shift()!;
    }
    this.#usedBytes += totalBytes;
    return buffers as GPUBuffer[];
  }

  /** Gives back what `take` gave; the contents may stay. */
  give(buffers: readonly GPUBuffer[]): void {
    for (const buffer of buffers) {
      this.#usedBytes -= buffer.size;
      this.#keep(buffer);
    }
    this.#trim(this.#limitBytes);
  }

  #recycled(size: number): GPUBuffer | undefined {
    const buffer = this.#free.get(size)?.pop();
    if (buffer !== undefined) this.#freeBytes -= size;
    return buffer;
  }

  #keep(buffer: GPUBuffer): void {
    const list = this.#free.get(buffer.size);
    if (list === undefined) this.#free.set(buffer.size, [buffer]);
    else list.push(buffer);
    this.#freeBytes += buffer.size;
  }

  /** Destroys unused buffers until used and unused ones together have at most `bytes`. */
  #trim(bytes: number): void {
    for (const [size, list] of this.#free) {
      while (list.length > 0 && this.#usedBytes + this.#freeBytes > bytes) {
        list.shift()!.destroy();
        this.#freeBytes -= size;
      }
    }
  }

  /** All of them, or none and what the device says. */
  async #allocate(sizes: readonly number[]): Promise<GPUBuffer[] | string> {
    this.#gpu.pushErrorScope("out-of-memory");
    const buffers = sizes.map((size) =>
      this.#gpu.createBuffer({
        size,
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
      })
    );
    const outOfMemory = await this.#gpu.popErrorScope();
    if (outOfMemory === null) return buffers;
    for (const buffer of buffers) buffer.destroy();
    return outOfMemory.message;
  }
}
