/**
 * Compares the outputs of the running system with those of the same model run directly with ONNX Runtime on
 * the CPU.
 */
import { readFileSync } from "node:fs";
import { SECOND } from "../../core/clock.ts";
import { Random } from "../../core/random.ts";
import { SystemClock } from "../../core/system_clock.ts";
import { connectClient } from "../../client/connect.ts";
import { seededInput } from "../../client/inputs.ts";
import type { Address } from "../../wire/tcp.ts";
import { loadOrt } from "../../worker/onnx/ort.ts";

/** The demo's model: one input and one output, both float32. */
export interface DemoModel {
  readonly onnxPath: string;
  readonly inputShape: readonly number[];
}

export interface OutputCheck {
  readonly inputs: number;
  readonly values: number;
  /** Largest difference of a served value from the directly computed one. */
  readonly maxDifference: number;
  /** Largest magnitude of the directly computed values, to judge the difference by. */
  readonly maxValue: number;
}

const INPUTS = 8;
/** Devices compute in different orders, so the last bits differ. */
export const TOLERANCE = 1e-3;

/** @throws {Error} when an output is missing, has the wrong size, or differs by too much. */
export async function checkOutputs(controller: Address, model: DemoModel): Promise<OutputCheck> {
  const size = model.inputShape.reduce((product, n) => product * n, 4);
  const random = new Random(7);
  const inputs = Array.from({ length: INPUTS }, () => seededInput(size, random));
  const [served, direct] = [await serve(controller, inputs), await runDirectly(model, inputs)];
  let maxDifference = 0;
  let maxValue = 0;
  let values = 0;
  for (const [i, expected] of direct.entries()) {
    const bytes = served[i]!;
    if (bytes.length !== expected.byteLength) {
      throw new Error(
        `the served output has ${bytes.length} bytes, a direct run's ${expected.byteLength}`,
      );
    }
    const actual = new Float32Array(bytes.slice().buffer);
    for (const [k, value] of expected.entries()) {
      // Written so that NaN counts as different.
      const difference = Math.abs(actual[k]! - value);
      maxDifference = difference <= maxDifference ? maxDifference : difference;
      maxValue = Math.max(maxValue, Math.abs(value));
    }
    values += expected.length;
  }
  if (!(maxDifference <= TOLERANCE)) {
    throw new Error(
      `served outputs differ from a direct run by up to ${maxDifference}, more than ${TOLERANCE}`,
    );
  }
  if (direct.every((output) => output.every((value, k) => value === direct[0]![k]))) {
    throw new Error("all inputs have the same output: that would show nothing");
  }
  return { inputs: INPUTS, values, maxDifference, maxValue };
}

async function serve(
  controller: Address,
  inputs: readonly Uint8Array[],
): Promise<readonly Uint8Array[]> {
  const clock = new SystemClock();
  try {
    const client = await connectClient(controller, clock);
    const [model] = await client.ls();
    if (model === undefined) throw new Error("the controller has no model loaded");
    // At once, so that batches form; with time to spare, so that none is refused.
    const outputs = await Promise.all(
      inputs.map((input) => client.infer(model, input, { deadlineNs: 10 * SECOND })),
    );
    await client.close();
    return outputs;
  } finally {
    clock.close();
  }
}

async function runDirectly(
  { onnxPath, inputShape }: DemoModel,
  inputs: readonly Uint8Array[],
): Promise<Float32Array[]> {
  const ort = await loadOrt();
  const session = await ort.InferenceSession.create(readFileSync(onnxPath), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
  });
  const name = session.inputNames[0]!;
  const outputs: Float32Array[] = [];
  for (const input of inputs) {
    const values = new Float32Array(input.slice().buffer);
    const feeds = { [name]: new ort.Tensor("float32", values, [1, ...inputShape]) };
    const results = await session.run(feeds);
    outputs.push(results[session.outputNames[0]!]!.data as Float32Array);
  }
  await session.release();
  return outputs;
}
