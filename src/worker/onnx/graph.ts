/** Questions about a graph. */
import type { Graph, Node, Tensor } from "./proto.ts";

/** Nodes of the operator set that every model shares; others may mean anything by the same name. */
function isStandard(node: Node): boolean {
  return node.domain === undefined || node.domain === "" || node.domain === "ai.onnx";
}

/** Subgraphs deeper than this are not looked into: no real model has them, but a damaged file may. */
const MAX_DEPTH = 64;

/** All initializers and constants of a graph and of the bodies of its If, Loop and Scan. */
export function allTensors(graph: Graph): Tensor[] {
  const tensors: Tensor[] = [];
  const add = ({ initializer, node }: Graph, depth: number) => {
    if (depth > MAX_DEPTH) return;
    for (const tensor of initializer) tensors.push(tensor);
    for (const one of node) {
      const constant = one.opType === "Constant" && isStandard(one);
      for (const { t, g, graphs } of one.attribute ?? []) {
        if (t && constant) tensors.push(t);
        if (g) add(g, depth + 1);
        for (const inner of graphs ?? []) add(inner, depth + 1);
      }
    }
  };
  add(graph, 0);
  return tensors;
}
