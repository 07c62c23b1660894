import assert from "node:assert/strict";
import { BufferWatch, Recording } from "./buffer_watch.ts";

const STORAGE = 128, UNIFORM = 64;
(globalThis as { GPUBufferUsage?: unknown }).GPUBufferUsage ??= { STORAGE };

interface Copy {
  readonly from: GPUBuffer;
  readonly offset: number;
}

/** Just enough of a device, which remembers what reached it. */
class FakeGpu {
  readonly bound: GPUBindGroupDescriptor[] = [];
  readonly copies: Copy[] = [];
  readonly queue = { writeBuffer: () => {} };
  createBuffer({ size, usage }: GPUBufferDescriptor) {
    return { size, usage } as unknown as GPUBuffer;
  }
  createBindGroupLayout() {
    return {} as GPUBindGroupLayout;
  }
  createBindGroup(descriptor: GPUBindGroupDescriptor) {
    this.bound.push(descriptor);
    return {} as GPUBindGroup;
  }
  createCommandEncoder() {
    return new FakeEncoder(this);
  }
}

class FakeEncoder {
  readonly #gpu: FakeGpu;
  constructor(gpu: FakeGpu) {
    this.#gpu = gpu;
  }
  copyBufferToBuffer(from: GPUBuffer, offset: number) {
    this.#gpu.copies.push({ from, offset });
  }
  clearBuffer() {}
}

/** A watched device, and its layout of two inputs and an output. */
function watched() {
  const fake = new FakeGpu();
  const gpu = fake as unknown as GPUDevice;
  const watch = new BufferWatch(gpu);
  const types = ["read-only-storage", "read-only-storage", "storage"] as const;
  const layout = gpu.createBindGroupLayout({
    entries: types.map((type, binding) => ({ binding, visibility: 4, buffer: { type } })),
  });
  const buffer = (usage = STORAGE) => gpu.createBuffer({ size: 64, usage });
  const run = (...buffers: GPUBuffer[]) =>
    gpu.createBindGroup({
      layout,
      entries: buffers.map((one, binding) => ({ binding, resource: { buffer: one } })),
    });
  return { fake, gpu, watch, buffer, run };
}

Deno.test("weights are what a session made at its creation, and its runs only read", () => {
  const { gpu, watch, buffer, run } = watched();
  const older = buffer();
  const recording = new Recording();
  watch.recording = recording;
  const [raw, weight, copied, scratch, unused] = [buffer(), buffer(), buffer(), buffer(), buffer()];
  const uniform = buffer(UNIFORM);
  // Preparing weights writes them: that is not a run.
  run(raw, raw, weight);
  recording.endCreation();
  const result = buffer();
  run(older, weight, scratch);
  run(scratch, uniform, result);
  const encoder = gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(copied, 0, result, 0, 64);
  watch.recording = null;
  run(unused, raw, result);
  assert.deepEqual(recording.constants(), [weight, copied]);
});

Deno.test("whatever a run writes is no weight: through a binding, a copy, a fill or an upload", () => {
  const { gpu, watch, buffer, run } = watched();
  const recording = new Recording();
  watch.recording = recording;
  const buffers = Array.from({ length: 6 }, () => buffer());
  const [bound, unknown, target, cleared, uploaded, weight] = buffers as [
    GPUBuffer,
    GPUBuffer,
    GPUBuffer,
    GPUBuffer,
    GPUBuffer,
    GPUBuffer,
  ];
  recording.endCreation();
  for (const one of buffers) run(one, one, buffer());
  run(weight, weight, bound);
  // A layout that was made before anybody watched.
  gpu.createBindGroup({
    layout: {} as GPUBindGroupLayout,
    entries: [{ binding: 0, resource: { buffer: unknown } }],
  });
  const encoder = gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(weight, 0, target, 0, 4);
  encoder.clearBuffer(cleared);
  gpu.queue.writeBuffer(uploaded, 0, new Uint8Array(4));
  assert.deepEqual(recording.constants(), [weight]);
});

Deno.test("a run sees the copy's pages instead of the session's weights", () => {
  const { fake, gpu, watch, buffer, run } = watched();
  const [weight, other, page] = [buffer(), buffer(), buffer()];
  watch.redirect = new Map([[weight, { buffer: page, offset: 512 }]]);
  run(weight, other);
  gpu.createBindGroup({
    layout: {} as GPUBindGroupLayout,
    entries: [
      { binding: 0, resource: { buffer: weight, offset: 16, size: 8 } },
      { binding: 1, resource: { buffer: weight, offset: 16 } },
    ],
  });
  gpu.createCommandEncoder().copyBufferToBuffer(weight, 4, other, 0, 8);
  watch.redirect = null;
  run(weight);
  const bindings = fake.bound.map(({ entries }) => [...entries].map(({ resource }) => resource));
  assert.deepEqual(bindings, [
    [{ buffer: page, offset: 512, size: 64 }, { buffer: other }],
    [{ buffer: page, offset: 528, size: 8 }, { buffer: page, offset: 528, size: 48 }],
    [{ buffer: weight }],
  ]);
  assert.deepEqual(fake.copies, [{ from: page, offset: 516 }]);
});
