/**
 * Sits between ONNX Runtime and the device's buffers, for two purposes.
 *
 * It sees which buffers of a session hold weights: those made while the session was created which its
 * runs read and never write. And it can give a session other buffers in their place, run by run, so that
 * one session serves any number of copies whose weights come and go.
 *
 * Why not make the weights inputs of the graph, which needs no tricks? ONNX Runtime prepares constant
 * weights once, when a session is made (it folds batch normalization into convolutions, and puts the
 * kernels of convolutions into the order its shaders want). Inputs are prepared in every run: that made
 * inference up to a fifth slower. Here they stay constants, and the prepared form is what moves.
 */

/** Where something is: a part of a buffer. */
export interface Place {
  readonly buffer: GPUBuffer;
  /** In bytes. */
  readonly offset: number;
}

/** What one session's buffers were used for. */
export class Recording {
  readonly #created = new Set<GPUBuffer>();
  readonly #read = new Set<GPUBuffer>();
  readonly #written = new Set<GPUBuffer>();
  #creating = true;

  /** From now on the session runs: buffers made later hold intermediate results. */
  endCreation(): void {
    this.#creating = false;
  }

  created(buffer: GPUBuffer): void {
    if (this.#creating) this.#created.add(buffer);
  }

  used(buffer: GPUBuffer, writes: boolean): void {
    if (this.#creating || !this.#created.has(buffer)) return;
    (writes ? this.#written : this.#read).add(buffer);
  }

  /** Buffers that held their contents before the first run, and that no run has changed. */
  constants(): GPUBuffer[] {
    return [...this.#read].filter((buffer) => !this.#written.has(buffer));
  }
}

export class BufferWatch {
  /** While not null, these buffers' contents are elsewhere. Set for the length of one run. */
  redirect: ReadonlyMap<GPUBuffer, Place> | null = null;
  recording: Recording | null = null;
  /** Bindings of each layout through which shaders write. */
  readonly #writable = new WeakMap<GPUBindGroupLayout, ReadonlySet<number>>();
  readonly #watchedEncoders = new WeakSet<object>();

  /** Watches a device from its beginning: it must not have made anything yet. */
  constructor(gpu: GPUDevice) {
    const { createBuffer, createBindGroup, createBindGroupLayout, createCommandEncoder } = gpu;
    const { writeBuffer } = gpu.queue;

    gpu.createBuffer = (descriptor) => {
      const buffer = createBuffer.call(gpu, descriptor);
      if (descriptor.usage & GPUBufferUsage.STORAGE) this.recording?.created(buffer);
      return buffer;
    };
    gpu.createBindGroupLayout = (descriptor) => {
      const layout = createBindGroupLayout.call(gpu, descriptor);
      const writable = new Set<number>();
      for (const { binding, buffer } of descriptor.entries) {
        if (buffer?.type === "storage") writable.add(binding);
      }
      this.#writable.set(layout, writable);
      return layout;
    };
    gpu.createBindGroup = (descriptor) => {
      if (this.recording !== null) this.#recordBindings(this.recording, descriptor);
      if (this.redirect !== null) redirectBindings(this.redirect, descriptor);
      return createBindGroup.call(gpu, descriptor);
    };
    gpu.createCommandEncoder = (descriptor) => {
      const encoder = createCommandEncoder.call(gpu, descriptor);
      this.#watchEncoder(Object.getPrototypeOf(encoder));
      return encoder;
    };
    gpu.queue.writeBuffer = ((...args: Parameters<GPUQueue["writeBuffer"]>) => {
      this.recording?.used(args[0], true);
      return writeBuffer.apply(gpu.queue, args);
    }) as GPUQueue["writeBuffer"];
  }

  #recordBindings(recording: Recording, { layout, entries }: GPUBindGroupDescriptor): void {
    const writable = this.#writable.get(layout);
    for (const { binding, resource } of entries) {
      // A layout that was not seen may write through any of its bindings.
      if ("buffer" in resource) {
        recording.used(resource.buffer, writable?.has(binding) ?? true);
      }
    }
  }

  /** `prototype` is that of encoders: all share it. */
  #watchEncoder(prototype: GPUCommandEncoder): void {
    if (this.#watchedEncoders.has(prototype)) return;
    this.#watchedEncoders.add(prototype);
    const { copyBufferToBuffer, clearBuffer } = prototype;
    // deno-lint-ignore no-this-alias
    const watch = this;
    prototype.copyBufferToBuffer = function (
      this: GPUCommandEncoder,
      source: GPUBuffer,
      sourceOffset: number,
      destination: GPUBuffer,
      destinationOffset: number,
      size: number,
    ): undefined {
      watch.recording?.used(source, false);
      watch.recording?.used(destination, true);
      const place = watch.redirect?.get(source);
      const from = place?.buffer ?? source;
      const offset = (place?.offset ?? 0) + sourceOffset;
      return copyBufferToBuffer.call(this, from, offset, destination, destinationOffset, size);
    };
    prototype.clearBuffer = function (
      this: GPUCommandEncoder,
      buffer: GPUBuffer,
      ...range: [offset?: number, size?: number]
    ): undefined {
      watch.recording?.used(buffer, true);
      return clearBuffer.call(this, buffer, ...range);
    };
  }
}

/** Changes the descriptor, which ONNX Runtime makes anew for each use. */
function redirectBindings(
  redirect: ReadonlyMap<GPUBuffer, Place>,
  { entries }: GPUBindGroupDescriptor,
): void {
  for (const entry of entries) {
    if (!("buffer" in entry.resource)) continue;
    const { buffer, offset = 0, size } = entry.resource;
    const place = redirect.get(buffer);
    if (place === undefined) continue;
    entry.resource = {
      buffer: place.buffer,
      offset: place.offset + offset,
      size: size ?? buffer.size - offset,
    };
  }
}
