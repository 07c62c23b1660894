/** The weights of one model: once in host memory, and in pages of device memory for each copy. */
import type { BufferWatch, Place, Recording } from "./buffer_watch.ts";
import { nextTurn } from "./next_turn.ts";
import { layOut, type PageLayout, type PagePool } from "./page_pool.ts";

/** How much is moved before other work gets a turn: about a millisecond on a PCIe bus. */
export const UPLOAD_CHUNK_BYTES = 4 * 1024 * 1024;
/** About how much is read back at once; a larger tensor is read back whole. */
const READ_BACK_BYTES = 16 * 1024 * 1024;

/** One copy's weights on the device. */
export interface PagedCopy {
  readonly buffers: readonly GPUBuffer[];
  /** Where the session's own weights are to be found. */
  readonly redirect: ReadonlyMap<GPUBuffer, Place>;
}

export class PagedWeights {
  readonly #gpu: GPUDevice;
  readonly #pool: PagePool;
  /** The session's buffers, by which it refers to its weights; without contents once released. */
  readonly #handles: readonly GPUBuffer[];
  readonly #contents: readonly Uint8Array<ArrayBuffer>[];
  readonly #layout: PageLayout;

  private constructor(
    gpu: GPUDevice,
    pool: PagePool,
    handles: readonly GPUBuffer[],
    contents: readonly Uint8Array<ArrayBuffer>[],
    pageBytes: number,
  ) {
    this.#gpu = gpu;
    this.#pool = pool;
    this.#handles = handles;
    this.#contents = contents;
    this.#layout = layOut(contents.map(({ length }) => length), pageBytes);
  }

  /** Device memory that each copy takes, in bytes: whole pages. */
  get pagedBytes(): number {
    return this.#layout.totalBytes;
  }

  /** Reads the weights that a session has on the device. Null when it has none. */
  static async capture(
    gpu: GPUDevice,
    pool: PagePool,
    recording: Recording,
    pageBytes: number,
  ): Promise<PagedWeights | null> {
    const handles = recording.constants();
    if (handles.length === 0) return null;
    const contents: Uint8Array<ArrayBuffer>[] = [];
    for (let begin = 0; begin < handles.length;) {
      let bytes = handles[begin]!.size;
      let end = begin + 1;
      while (end < handles.length && bytes + handles[end]!.size <= READ_BACK_BYTES) {
        bytes += handles[end++]!.size;
      }
      contents.push(...await readBack(gpu, handles.slice(begin, end), bytes));
      begin = end;
      await nextTurn();
    }
    return new PagedWeights(gpu, pool, handles, contents, pageBytes);
  }

  /** Frees the device memory that the session has taken for its weights; they are in pages from now on. */
  releaseOriginals(): void {
    for (const handle of this.#handles) handle.destroy();
  }

  /**
   * Allocates and uploads one copy. Between chunks the thread takes other messages, and no chunk is queued
   * before the last one has arrived: an inference waits for one chunk at most.
   *
   * @throws {OperationError} loadWeightsInsufficientCache when the device has no memory left.
   */
  async load(): Promise<PagedCopy> {
    const buffers = await this.#pool.take(this.#layout.bufferBytes);
    try {
      const { queue } = this.#gpu;
      let queuedBytes = 0;
      for (const [i, content] of this.#contents.entries()) {
        const place = this.#layout.places[i]!;
        for (let begin = 0; begin < content.length;) {
          const bytes = Math.min(content.length - begin, UPLOAD_CHUNK_BYTES - queuedBytes);
          queue.writeBuffer(
            buffers[place.buffer]!,
            place.offset + begin,
            content,
            begin,
            bytes,
          );
          begin += bytes;
          queuedBytes += bytes;
          if (queuedBytes < UPLOAD_CHUNK_BYTES) continue;
          queuedBytes = 0;
          await queue.onSubmittedWorkDone();
          await nextTurn();
        }
      }
      await queue.onSubmittedWorkDone();
    } catch (error) {
      this.#pool.give(buffers);
      throw error;
    }
    const redirect = new Map<GPUBuffer, Place>();
    this.#handles.forEach((handle, i) => {
      const { buffer, offset } = this.#layout.places[i]!;
      redirect.set(handle, { buffer: buffers[buffer]!, offset });
    });
    return { buffers, redirect };
  }

  evict(copy: PagedCopy): void {
    this.#pool.give(copy.buffers);
  }
}

/** Copies the contents of buffers, of `totalBytes` together, into one host buffer. */
async function readBack(
  gpu: GPUDevice,
  buffers: readonly GPUBuffer[],
  totalBytes: number,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const staging = gpu.createBuffer({
    size: totalBytes,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  try {
    const encoder = gpu.createCommandEncoder();
    let offset = 0;
    for (const buffer of buffers) {
      encoder.copyBufferToBuffer(buffer, 0, staging, offset, buffer.size);
      offset += buffer.size;
    }
    gpu.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const host = staging.getMappedRange().slice(0);
    let begin = 0;
    return buffers.map(({ size }) => {
      const content = new Uint8Array(host, begin, size);
      begin += size;
      return content;
    });
  } finally {
    staging.destroy();
  }
}

/** Runs `fn` while the session sees a copy's weights instead of its own. */
export async function withCopy<T>(
  watch: BufferWatch,
  copy: PagedCopy,
  fn: () => Promise<T>,
): Promise<T> {
  watch.redirect = copy.redirect;
  try {
    return await fn();
  } finally {
    watch.redirect = null;
  }
}
