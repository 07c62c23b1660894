import assert from "node:assert/strict";
import { modelName } from "./model_name.ts";

Deno.test("a model is called by its folder, or by its file where that has a name of its own", () => {
  const called: [string, string][] = [
    ["zoo/resnet50_v2/model.onnx", "resnet50_v2"],
    ["zoo/resnet50_v2/model.json", "resnet50_v2"],
    ["zoo/resnet50_v2/model", "resnet50_v2"],
    ["resnet50_v2", "resnet50_v2"],
    ["/models/net.onnx", "net"],
    ["C:\\models\\net\\model.onnx", "net"],
    ["net/", "net"],
    ["model", "model"],
    ["model.onnx", "model"],
    ["net.v2", "net.v2"],
    ["", ""],
  ];
  for (const [path, name] of called) assert.equal(modelName(path), name, path);
});
