/**
 * The short name of a model that is loaded from a path: the name of its folder, or of the file if that is
 * not called `model`. `zoo/resnet50_v2/model.onnx`, `zoo/resnet50_v2/model` and `resnet50_v2` are all
 * `resnet50_v2`.
 */
export function modelName(path: string): string {
  const parts = path.split(/[/\\]/).filter((part) => part !== "");
  const last = parts.at(-1)?.replace(/\.(onnx|json)$/, "") ?? path;
  return last === "model" ? parts.at(-2) ?? last : last;
}
