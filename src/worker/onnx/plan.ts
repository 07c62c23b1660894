/** A graph's inputs and outputs, as known before it has run. */
import type { DataType } from "../backend.ts";
import { dataTypeOf, onnxTypeName } from "./data_types.ts";
import type { Dimension, Model, ValueInfo } from "./proto.ts";

/** A model that cannot be served as it is. The message says which tensor and what to do. */
export class ModelShapeError extends Error {
  override readonly name = "ModelShapeError";
}

export interface PlannedInput {
  readonly name: string;
  readonly dtype: DataType;
  /** The whole shape at batch size 1. */
  readonly dims: readonly number[];
  /** What every element is where nobody sends an input; undefined for seeded values. */
  readonly fill?: number;
}

export interface GraphPlan {
  readonly inputs: readonly PlannedInput[];
  readonly outputs: readonly { readonly name: string; readonly dtype: DataType }[];
  /** The sizes that were given and of use. */
  readonly shapes: InputShapes;
  /** Whether the first dimension of every input is left open, so that requests may be batched. */
  readonly batchable: boolean;
}

/** Values given by the user for inputs that cannot be any number, by input. */
export type InputFill = Readonly<Record<string, number>>;

/** Sizes given by the user for dynamic dimensions, by input; the first is that of one request. */
export type InputShapes = Readonly<Record<string, readonly number[]>>;

/** What is given for an input. Models name theirs as they like: an object has a "constructor" of its own. */
export function givenFor<T>(values: Readonly<Record<string, T>>, input: string): T | undefined {
  return Object.hasOwn(values, input) ? values[input] : undefined;
}

function elementType(value: ValueInfo, role: string): DataType {
  const onnx = value.type?.tensorType?.elemType ?? 0;
  const dtype = dataTypeOf(onnx);
  if (dtype === undefined) {
    throw new ModelShapeError(
      `${role} "${value.name}" is ${onnx === 0 ? "not a tensor" : `of ${onnxTypeName(onnx)}`}; ` +
        "requests carry float32, float16, int64, int32, int8, uint64, uint32, uint8 and bool tensors",
    );
  }
  return dtype;
}

/** A fixed size, or 0 when the dimension is dynamic. */
function fixedSize(dim: Dimension): number {
  const size = Number(dim.dimValue ?? 0);
  return Number.isSafeInteger(size) && size > 0 ? size : 0;
}

/**
 * Sizes of open dimensions by the names that a graph has for them, as far as the shapes given agree on one.
 * The same name means the same size in all inputs; some exporters write "?" for any.
 */
function namedSizes(
  inputs: readonly ValueInfo[],
  shapes: InputShapes,
): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>();
  for (const { name, type } of inputs) {
    for (const [axis, { dimParam = "" }] of (type?.tensorType?.shape?.dim ?? []).entries()) {
      const size = givenFor(shapes, name)?.[axis];
      // The first is the batch.
      if (axis === 0 || size === undefined || !/\w/.test(dimParam)) continue;
      sizes.set(dimParam, (sizes.get(dimParam) ?? size) === size ? size : 0);
    }
  }
  return sizes;
}

function declaredDims(
  input: ValueInfo,
  shapes: InputShapes,
  named: ReadonlyMap<string, number>,
): number[] {
  const dims = input.type?.tensorType?.shape?.dim;
  const declared = dims?.map(fixedSize);
  const given = givenFor(shapes, input.name);
  if (declared === undefined) {
    if (given !== undefined) return [...given];
    throw new ModelShapeError(
      `input "${input.name}" has no declared shape; give it with --shape ${input.name}=1,… or in model.json: "shapes": {"${input.name}": [1, ...]}`,
    );
  }
  if (given === undefined) {
    return declared.map((size, axis) =>
      size === 0 && axis > 0 ? named.get(dims?.[axis]?.dimParam ?? "") ?? 0 : size
    );
  }
  const agrees = given.length === declared.length &&
    given.every((size, i) => declared[i] === 0 || declared[i] === size);
  if (!agrees) {
    const text = declared.map((size) => size || "?").join(",");
    throw new ModelShapeError(
      `the shape [${given.join(",")}] given for input "${input.name}" does not fit the model's ` +
        `[${text}]; correct --shape, or "shapes" in model.json`,
    );
  }
  return declared.map((size, i) => i === 0 && size === 0 ? -given[0]! : given[i]!);
}

/** Whether a shape that is meant for any model suits this input: it has open dimensions, and they fit. */
function suits(input: ValueInfo, shape: readonly number[]): boolean {
  const declared = input.type?.tensorType?.shape?.dim.map(fixedSize);
  if (declared === undefined) return true;
  return declared.includes(0) && declared.length === shape.length &&
    declared.every((size, i) => size === 0 || size === shape[i]);
}

/** Says which dimensions are open, of all inputs at once, and how to give them. */
function refuseOpen(inputs: readonly PlannedInput[]): void {
  const open = inputs.filter(({ dims }) => dims.includes(0));
  if (open.length === 0) return;
  const axes = open.map(({ name, dims }) =>
    `input "${name}" leaves dimension ${
      dims.flatMap((size, axis) => size === 0 ? [axis] : []).join(" and ")
    } open`
  );
  const sizes = (dims: readonly number[], separator: string) =>
    dims.map((size) => size || "SIZE").join(separator);
  const options = open.map(({ name, dims }) => `--shape ${name}=${sizes(dims, ",")}`);
  const fields = open.map(({ name, dims }) => `"${name}": [${sizes(dims, ", ")}]`);
  throw new ModelShapeError(
    `${axes.join(", ")}; give sizes with ${options.join(" ")} or in model.json: ` +
      `"shapes": {${fields.join(", ")}}`,
  );
}

/**
 * Reads the inputs and outputs of a graph. Initializers listed as inputs are not inputs.
 *
 * @param own sizes given for this model, which must fit it.
 * @param general sizes given for whatever model they fit; they go before its own.
 * @param fill values of inputs that are made here, of any model.
 * @throws {ModelShapeError} when a dimension is open, or a type is one that requests cannot carry.
 */
export function planGraph(
  model: Model,
  own: InputShapes,
  general: InputShapes = {},
  fill: InputFill = {},
): GraphPlan {
  const initializers = new Set(model.graph.initializer.map((tensor) => tensor.name));
  const inputs = model.graph.input.filter((input) => !initializers.has(input.name));
  const unknown = Object.keys(own).find((name) => !inputs.some((input) => input.name === name));
  if (unknown !== undefined) {
    throw new ModelShapeError(
      `sizes are given for the input "${unknown}", which the model does not have; its inputs are: ` +
        inputs.map((input) => input.name).join(", "),
    );
  }
  const shapes: Record<string, readonly number[]> = { ...own };
  for (const input of inputs) {
    const shape = givenFor(general, input.name);
    if (shape !== undefined && suits(input, shape)) shapes[input.name] = shape;
  }
  const named = namedSizes(inputs, shapes);
  const all = inputs.map((input) => declaredDims(input, shapes, named));
  // A negative first size is one that was open and has been given.
  const batchable = all.length > 0 && all.every((dims) => dims.length > 0 && dims[0]! <= 0);
  const planned = inputs.map((input, i) => {
    const dims = all[i]!.map((size, axis) => axis === 0 && size <= 0 ? -size || 1 : size);
    if (batchable && dims[0] !== 1) {
      throw new ModelShapeError(
        `the first dimension of input "${input.name}" is the batch: give 1 in "shapes", not ${
          dims[0]
        }`,
      );
    }
    const value = givenFor(fill, input.name);
    const dtype = elementType(input, "input");
    if (value !== undefined && !dtype.startsWith("float") && !Number.isSafeInteger(value)) {
      throw new ModelShapeError(
        `input "${input.name}" is of ${dtype} and cannot be filled with ${value}`,
      );
    }
    return { name: input.name, dtype, dims, ...(value === undefined ? {} : { fill: value }) };
  });
  refuseOpen(planned);
  return {
    inputs: planned,
    outputs: model.graph.output.map((output) => ({
      name: output.name,
      dtype: elementType(output, "output"),
    })),
    shapes,
    batchable,
  };
}
