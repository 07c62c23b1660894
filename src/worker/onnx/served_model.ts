/** A model on this thread's device: its session, its weights in host memory, its copies. */
import { ActionStatus } from "../../core/status.ts";
import type { TensorSpec } from "../backend.ts";
import { fillSeeded, fillWith, viewAs } from "./data_types.ts";
import type { Device } from "./device.ts";
import { exclusively, type OrtSession, type OrtTensor, releaseSession } from "./ort.ts";
import { type PagedCopy, type PagedWeights, withCopy } from "./paged_weights.ts";
import type { GraphPlan } from "./plan.ts";
import { OperationError, type ThreadSpan } from "./protocol.ts";

/** Seed of the inputs that nobody sent; request i of a batch gets the i-th seed from here. */
const INPUT_SEED = 2020;

/** Copy that exists while a model is loaded, to warm it up and measure it. */
export const TRIAL_COPY = -1;

/** The result of one run: each output's buffer (its own) and actual dimensions, and when it ran. */
export interface RunResult extends ThreadSpan {
  readonly buffers: readonly ArrayBuffer[];
  readonly dims: readonly (readonly number[])[];
}

function ownBuffer(tensor: OrtTensor): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = tensor.data;
  return byteOffset === 0 && byteLength === buffer.byteLength
    ? buffer
    : buffer.slice(byteOffset, byteOffset + byteLength);
}

/** Runs one session of a model, with the weights of `copy` unless that is null. */
export async function runSession(
  device: Device,
  session: OrtSession,
  plan: GraphPlan,
  batchSize: number,
  inputs: readonly ArrayBuffer[],
  copy: PagedCopy | null,
): Promise<RunResult> {
  const feeds: Record<string, OrtTensor> = {};
  plan.inputs.forEach(({ name, dtype, dims }, i) => {
    const shape = plan.batchable ? [batchSize, ...dims.slice(1)] : dims;
    feeds[name] = new device.ort.Tensor(dtype, viewAs(dtype, inputs[i]!), shape);
  });
  const { results, beginMs, endMs } = await exclusively(async () => {
    const beginMs = performance.now();
    const results = copy === null || device.gpu === null
      ? await session.run(feeds)
      : await withCopy(device.gpu.watch, copy, () => session.run(feeds));
    return { results, beginMs, endMs: performance.now() };
  });
  const outputs = plan.outputs.map(({ name }) => {
    const output = results[name];
    if (output === undefined) throw new Error(`the model gave no output "${name}"`);
    return output;
  });
  return {
    buffers: outputs.map(ownBuffer),
    dims: outputs.map((output) => output.dims),
    beginMs,
    endMs,
  };
}

/** The same values each time: `batchSize` different requests, concatenated for each input. */
export function seededInputs(
  plan: GraphPlan,
  specs: readonly TensorSpec[],
  batchSize: number,
): ArrayBuffer[] {
  return specs.map((spec, input) => {
    const buffer = new ArrayBuffer(spec.bytes * batchSize);
    const fill = plan.inputs[input]!.fill;
    if (fill !== undefined) {
      fillWith(spec.dtype, buffer, fill);
      return buffer;
    }
    for (let i = 0; i < batchSize; i++) {
      const share = new ArrayBuffer(spec.bytes);
      fillSeeded(spec.dtype, share, INPUT_SEED + i * specs.length + input);
      new Uint8Array(buffer).set(new Uint8Array(share), i * spec.bytes);
    }
    return buffer;
  });
}

export class ServedModel {
  readonly #device: Device;
  readonly #session: OrtSession;
  readonly #plan: GraphPlan;
  readonly #inputs: readonly TensorSpec[];
  readonly #copies = new Map<number, PagedCopy | null>();
  readonly #seeded = new Map<number, ArrayBuffer[]>();
  /** Null while the session holds the weights. Changed only while there are no copies. */
  weights: PagedWeights | null = null;
  /** Bytes a whole batch's outputs must have, per request; set once they are known. */
  outputs: readonly TensorSpec[] = [];

  constructor(
    device: Device,
    session: OrtSession,
    plan: GraphPlan,
    inputs: readonly TensorSpec[],
  ) {
    this.#device = device;
    this.#session = session;
    this.#plan = plan;
    this.#inputs = inputs;
  }

  /** Makes a copy's weights resident; does nothing when they are. */
  async loadWeights(copyId: number): Promise<ThreadSpan> {
    const beginMs = performance.now();
    if (this.#copies.has(copyId)) return { beginMs, endMs: beginMs };
    const copy = this.weights === null ? null : await this.weights.load();
    this.#copies.set(copyId, copy);
    return { beginMs, endMs: performance.now() };
  }

  evictWeights(copyId: number): void {
    const copy = this.#copies.get(copyId);
    if (copy) this.weights?.evict(copy);
    this.#copies.delete(copyId);
  }

  /** Runs a batch; `inputs` null stands for seeded ones. The buffers of `inputs` are not kept. */
  async run(
    copyId: number,
    batchSize: number,
    inputs: readonly ArrayBuffer[] | null,
  ): Promise<RunResult> {
    const copy = this.#copies.get(copyId);
    if (copy === undefined) {
      throw new OperationError(
        ActionStatus.execWeightsMissing,
        "the weights are not on the device",
      );
    }
    const given = inputs ?? this.#seededInputs(batchSize);
    const result = await runSession(
      this.#device,
      this.#session,
      this.#plan,
      batchSize,
      given,
      copy,
    );
    this.outputs.forEach((spec, i) => {
      const expected = spec.bytes * (spec.batched ? batchSize : 1);
      if (result.buffers[i]!.byteLength === expected) return;
      throw new OperationError(
        ActionStatus.runtimeError,
        `output "${spec.name}" has the shape [${result.dims[i]}] for this input, not that of its ` +
          "first run; outputs whose shape depends on values cannot be served",
      );
    });
    return result;
  }

  /** Frees the inputs that were made for it: those of all batch sizes may be larger than its weights. */
  forgetInputs(): void {
    this.#seeded.clear();
  }

  async close(): Promise<void> {
    for (const copyId of [...this.#copies.keys()]) this.evictWeights(copyId);
    await releaseSession(this.#session);
  }

  #seededInputs(batchSize: number): readonly ArrayBuffer[] {
    let inputs = this.#seeded.get(batchSize);
    if (inputs === undefined) {
      inputs = seededInputs(this.#plan, this.#inputs, batchSize);
      this.#seeded.set(batchSize, inputs);
    }
    return inputs;
  }
}
