/**
 * Moves the large weights of a model out into graph inputs, so that one session without weights serves
 * any number of copies, whose weights come and go as GPU buffers.
 */
import { dataTypeOf, floatBytes, onnxType } from "./data_types.ts";
import { foldConvolutions } from "./fold.ts";
import { constantsOf, constantsToInitializers, isStandard, type Use, Uses } from "./graph.ts";
import { decodeModel, dimsOf, encodeModel, type Model, type Tensor } from "./proto.ts";

/** Smaller tensors stay in the graph: a buffer each would cost more than they save. */
export const MIN_HOISTED_BYTES = 1024;

/** One weight that became a graph input. */
export interface HoistedWeight {
  readonly name: string;
  readonly dtype: "float32" | "float16";
  readonly dims: readonly number[];
  /** A view of the file where nothing was folded into it. */
  readonly data: Uint8Array;
}

export interface HoistedModel {
  /** The ONNX file without the weights. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly weights: readonly HoistedWeight[];
  /** Sum of the weights' sizes. */
  readonly weightsBytes: number;
}

const EVERY_INPUT = [0, 1, 2, 3, 4, 5, 6, 7];

/**
 * The inputs of each operator that need not be constants for ONNX Runtime's WebGPU kernels. Shapes,
 * axes, scales and bounds are not here: kernels read those on the host when a session is made.
 * Recurrent layers are not here either: they run on the host, which would fetch the weights each time.
 */
const HOISTABLE: Readonly<Record<string, readonly number[]>> = {
  Add: [0, 1],
  BatchNormalization: [1, 2, 3, 4],
  Concat: EVERY_INPUT,
  Conv: [1, 2],
  ConvTranspose: [1, 2],
  Div: [0, 1],
  Einsum: EVERY_INPUT,
  Gather: [0],
  Gemm: [0, 1, 2],
  InstanceNormalization: [1, 2],
  LayerNormalization: [1, 2],
  MatMul: [0, 1],
  Mul: [0, 1],
  PRelu: [1],
  Sub: [0, 1],
  Where: [1, 2],
};

function isHoistable(use: Use, constants: ReadonlyMap<string, Tensor>): boolean {
  const { node, index } = use;
  if (!isStandard(node) || !HOISTABLE[node.opType]?.includes(index)) return false;
  // An operator on constants alone is computed once, when the session is made.
  return node.input.some((name) => name !== "" && !constants.has(name));
}

/** Sets the dimensions of graph inputs; a string stays symbolic. */
export function setInputShapes(
  model: Model,
  shapes: ReadonlyMap<string, readonly (number | string)[]>,
): void {
  for (const input of model.graph.input) {
    const shape = shapes.get(input.name);
    const tensorType = input.type?.tensorType;
    if (shape === undefined || !tensorType) continue;
    tensorType.shape = {
      dim: shape.map((d) => typeof d === "number" ? { dimValue: d } : { dimParam: d }),
    };
  }
}

/**
 * Takes the weights out of an ONNX file. `inputShapes` gives its inputs their dimensions, the batch as a
 * name. There may be nothing to take: then `weights` is empty.
 */
export function hoist(
  file: Uint8Array,
  inputShapes: ReadonlyMap<string, readonly (number | string)[]>,
): HoistedModel {
  const model = decodeModel(file);
  const { graph } = model;
  setInputShapes(model, inputShapes);
  constantsToInitializers(graph);
  foldConvolutions(model);

  const constants = constantsOf(model);
  const uses = new Uses(graph);
  const inputs = new Set(graph.input.map((input) => input.name));
  const weights: HoistedWeight[] = [];
  graph.initializer = graph.initializer.filter((tensor) => {
    const name = tensor.name ?? "";
    const dtype = dataTypeOf(tensor.dataType);
    if (name === "" || (dtype !== "float32" && dtype !== "float16")) return true;
    if (uses.isPinned(name) || !uses.of(name).every((use) => isHoistable(use, constants))) {
      return true;
    }
    const data = floatBytes(tensor);
    if (data === undefined || data.length < MIN_HOISTED_BYTES) return true;
    const dims = dimsOf(tensor);
    weights.push({ name, dtype, dims, data });
    if (!inputs.has(name)) {
      const shape = { dim: dims.map((dimValue) => ({ dimValue })) };
      graph.input.push({ name, type: { tensorType: { elemType: onnxType(dtype), shape } } });
    }
    return false;
  });
  // Below version 4 every initializer must be an input too, which those made of Constant nodes are not.
  if (Number(model.irVersion) < 4) {
    model.irVersion = 4;
    const kept = new Set(graph.initializer.map((tensor) => tensor.name));
    graph.input = graph.input.filter((input) => !kept.has(input.name));
  }
  return {
    bytes: encodeModel(model),
    weights,
    weightsBytes: weights.reduce((sum, weight) => sum + weight.data.length, 0),
  };
}
