/**
 * Compares what a device computes with what the CPU does: users report models whose WebGPU results are
 * wrong, and a server must not give wrong answers fast.
 */
import type { DataType, TensorSpec } from "../backend.ts";
import { viewAs } from "./data_types.ts";

/** What to do about a model whose results differ: say so, refuse it, or do not compare. */
export const VERIFY_CHOICES = ["warn", "strict", "off"] as const;
export type VerifyChoice = typeof VERIFY_CHOICES[number];

/** An output whose values are all smaller is measured against this: near zero, all is rounding. */
const SMALLEST_SCALE = 0.01;

/**
 * How much results may differ. For floats, the largest difference as a share of the output's largest
 * value; for all other types, the share of elements that are not the same.
 */
export type Tolerances = Readonly<Record<DataType, number>>;

export const DEFAULT_TOLERANCES: Tolerances = {
  float32: 1e-3,
  float16: 2e-2,
  int64: 0.01,
  int32: 0.01,
  int8: 0.01,
  uint64: 0.01,
  uint32: 0.01,
  uint8: 0.01,
  bool: 0.01,
};

/** Those of a model: one that computes in float16 is no more exact than that where its outputs are float32. */
export function tolerancesFor(
  { halfPrecision }: { readonly halfPrecision: boolean },
  tolerances: Tolerances,
): Tolerances {
  if (!halfPrecision) return tolerances;
  return { ...tolerances, float32: Math.max(tolerances.float32, tolerances.float16) };
}

/** The output that differs most from the CPU's, as measured against its tolerance. */
export interface Difference {
  readonly output: string;
  readonly difference: number;
  readonly tolerance: number;
}

function floatDifference(
  actual: Float32Array | Float16Array,
  expected: Float32Array | Float16Array,
): number {
  let largest = 0;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i]!;
    const e = expected[i]!;
    // Both infinite, or neither a number: the same, as far as can be said.
    if (a === e || (a !== a && e !== e)) continue;
    const difference = Math.abs(a - e);
    if (!(difference < Infinity)) return Infinity;
    largest = Math.max(largest, difference);
  }
  for (const value of expected) {
    if (Math.abs(value) < Infinity) scale = Math.max(scale, Math.abs(value));
  }
  return largest === 0 ? 0 : largest / Math.max(scale, SMALLEST_SCALE);
}

function tensorDifference(dtype: DataType, actual: ArrayBuffer, expected: ArrayBuffer): number {
  if (actual.byteLength !== expected.byteLength) return Infinity;
  const a = viewAs(dtype, actual);
  const e = viewAs(dtype, expected);
  if (a instanceof Float32Array || a instanceof Float16Array) {
    return floatDifference(a, e as typeof a);
  }
  let different = 0;
  for (let i = 0; i < e.length; i++) if (a[i] !== e[i]) different++;
  return e.length === 0 ? 0 : different / e.length;
}

/** How far outputs are from those of the CPU: the output that is furthest beyond its tolerance. */
export function compareOutputs(
  specs: readonly TensorSpec[],
  actual: readonly ArrayBuffer[],
  expected: readonly ArrayBuffer[],
  tolerances: Tolerances,
): Difference {
  let worst: Difference = { output: specs[0]?.name ?? "", difference: 0, tolerance: Infinity };
  let worstRatio = -1;
  specs.forEach(({ name, dtype }, i) => {
    const difference = tensorDifference(dtype, actual[i]!, expected[i]!);
    const tolerance = tolerances[dtype];
    const ratio = difference === 0 ? 0 : difference / tolerance;
    if (ratio <= worstRatio) return;
    worstRatio = ratio;
    worst = { output: name, difference, tolerance };
  });
  return worst;
}

export function isWithin({ difference, tolerance }: Difference): boolean {
  return difference <= tolerance;
}

/** A sentence about a difference that is too large. */
export function describeDifference({ output, difference, tolerance }: Difference): string {
  return `output "${output}" differs from the CPU's by ${difference.toPrecision(2)}, more than ` +
    `the tolerance of ${tolerance}, for a seeded input`;
}
