/**
 * What people call a model that is loaded from a path: its folder's name, or the file's where that is not
 * called `model`. `zoo/resnet50_v2/model.onnx`, `zoo/resnet50_v2/model` and `resnet50_v2` are all
 * `resnet50_v2`.
 */
export function modelName(path: string): string {
  const parts = path.split(/[/\\]/).filter((part) => part !== "");
  const last = parts.at(-1)?.replace(/\.(onnx|json)$/, "") ?? path;
  return last === "model" ? parts.at(-2) ?? last : last;
}
