/** Weights of copies in GPU memory. */
import { ActionStatus } from "../../core/status.ts";
import type { HoistedWeight } from "./hoist.ts";
import { nextTurn } from "./next_turn.ts";
import type { Ort, OrtTensor } from "./ort.ts";
import { OperationError } from "./protocol.ts";

/** How much is uploaded before other work gets a turn: about a millisecond on a PCIe bus. */
export const UPLOAD_CHUNK_BYTES = 4 * 1024 * 1024;

/** One copy's weights, resident on the GPU. */
export class GpuWeights {
  readonly #buffers: readonly GPUBuffer[];
  /** The weights as inputs of the weightless session, by name. */
  readonly feeds: Readonly<Record<string, OrtTensor>>;

  private constructor(buffers: readonly GPUBuffer[], feeds: Record<string, OrtTensor>) {
    this.#buffers = buffers;
    this.feeds = feeds;
  }

  /**
   * Allocates and uploads. Between chunks the thread takes other messages, and no chunk is queued before
   * the last one has arrived: an inference waits for one chunk at most.
   *
   * @throws {OperationError} loadWeightsInsufficientCache when the device has no memory left.
   */
  static async upload(
    ort: Ort,
    gpu: GPUDevice,
    weights: readonly HoistedWeight[],
  ): Promise<GpuWeights> {
    const buffers: GPUBuffer[] = [];
    const feeds: Record<string, OrtTensor> = {};
    gpu.pushErrorScope("out-of-memory");
    for (const weight of weights) {
      const buffer = gpu.createBuffer({
        // ONNX Runtime's kernels bind whole multiples of 16 bytes.
        size: Math.ceil(weight.data.length / 16) * 16,
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
      });
      buffers.push(buffer);
      feeds[weight.name] = ort.Tensor.fromGpuBuffer(buffer, {
        dataType: weight.dtype,
        dims: weight.dims,
      });
    }
    const copy = new GpuWeights(buffers, feeds);
    const outOfMemory = await gpu.popErrorScope();
    if (outOfMemory !== null) {
      copy.destroy();
      throw new OperationError(
        ActionStatus.loadWeightsInsufficientCache,
        `the device has no memory left for these weights: ${outOfMemory.message}`,
      );
    }
    try {
      await copy.#fill(gpu, weights);
    } catch (error) {
      copy.destroy();
      throw error;
    }
    return copy;
  }

  async #fill(gpu: GPUDevice, weights: readonly HoistedWeight[]): Promise<void> {
    let queuedBytes = 0;
    for (const [i, { data }] of weights.entries()) {
      for (let offset = 0; offset < data.length;) {
        const bytes = Math.min(data.length - offset, UPLOAD_CHUNK_BYTES - queuedBytes);
        writePadded(gpu.queue, this.#buffers[i]!, offset, data.subarray(offset, offset + bytes));
        offset += bytes;
        // Rounded up as writePadded does, so that each part begins at a multiple of four.
        queuedBytes += Math.ceil(bytes / 4) * 4;
        if (queuedBytes < UPLOAD_CHUNK_BYTES) continue;
        queuedBytes = 0;
        await gpu.queue.onSubmittedWorkDone();
        await nextTurn();
      }
    }
    await gpu.queue.onSubmittedWorkDone();
  }

  destroy(): void {
    for (const buffer of this.#buffers) buffer.destroy();
  }
}

/** Writes a view whose length need not be a multiple of four, which WebGPU demands. */
function writePadded(queue: GPUQueue, buffer: GPUBuffer, offset: number, data: Uint8Array): void {
  const rest = data.length % 4;
  const whole = data.length - rest;
  if (whole > 0) queue.writeBuffer(buffer, offset, data as Uint8Array<ArrayBuffer>, 0, whole);
  if (rest > 0) {
    const last = new Uint8Array(4);
    last.set(data.subarray(whole));
    queue.writeBuffer(buffer, offset + whole, last);
  }
}
