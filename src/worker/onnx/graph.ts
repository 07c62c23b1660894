/** Questions about a graph that several passes ask. */
import type { Graph, Model, Node, Tensor } from "./proto.ts";

/** One place where a value is used. */
export interface Use {
  readonly node: Node;
  readonly index: number;
}

/** Nodes of the operator set that every model shares; others may mean anything by the same name. */
export function isStandard(node: Node): boolean {
  return node.domain === undefined || node.domain === "" || node.domain === "ai.onnx";
}

function addNames(graph: Graph, names: Set<string>): void {
  for (const node of graph.node) {
    for (const name of node.input) names.add(name);
    addSubgraphNames(node, names);
  }
  for (const output of graph.output) names.add(output.name);
}

function addSubgraphNames(node: Node, names: Set<string>): void {
  for (const attribute of node.attribute ?? []) {
    if (attribute.g) addNames(attribute.g, names);
    for (const graph of attribute.graphs ?? []) addNames(graph, names);
  }
}

/** Who uses which value of a graph. */
export class Uses {
  readonly #uses = new Map<string, Use[]>();
  /** Graph outputs, and what subgraphs (of If, Loop, Scan) may refer to. */
  readonly #pinned = new Set<string>();

  constructor(graph: Graph) {
    for (const node of graph.node) {
      node.input.forEach((name, index) => {
        const uses = this.#uses.get(name);
        if (uses === undefined) this.#uses.set(name, [{ node, index }]);
        else uses.push({ node, index });
      });
      addSubgraphNames(node, this.#pinned);
    }
    for (const output of graph.output) this.#pinned.add(output.name);
  }

  /** Uses as inputs of the graph's own nodes. */
  of(name: string): readonly Use[] {
    return this.#uses.get(name) ?? [];
  }

  /** Whether it is used elsewhere too, so that it must keep its name and value. */
  isPinned(name: string): boolean {
    return this.#pinned.has(name);
  }
}

/**
 * The initializers whose value cannot change, by name. From IR version 4 on, one that is also a graph
 * input is only a default that a caller may override, and ONNX Runtime does not fold it.
 */
export function constantsOf(model: Model): Map<string, Tensor> {
  const constants = new Map<string, Tensor>();
  const inputs = new Set(
    Number(model.irVersion) < 4 ? [] : model.graph.input.map((input) => input.name),
  );
  for (const tensor of model.graph.initializer) {
    if (tensor.name && !inputs.has(tensor.name)) constants.set(tensor.name, tensor);
  }
  return constants;
}

/** Makes initializers of `Constant` nodes, which some exporters write for all weights. */
export function constantsToInitializers(graph: Graph): void {
  graph.node = graph.node.filter((node) => {
    if (node.opType !== "Constant" || !isStandard(node)) return true;
    const value = node.attribute?.find((attribute) => attribute.name === "value")?.t;
    const name = node.output[0];
    if (!value || name === undefined) return true;
    graph.initializer.push({ ...value, name });
    return false;
  });
}
