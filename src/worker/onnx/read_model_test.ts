import assert from "node:assert/strict";
import { encodeModel } from "./proto.ts";
import { readModel } from "./read_model.ts";
import { floatTensor, model, node } from "./testing.ts";

function read(weightType: number) {
  const weights = { ...floatTensor("w", [2, 2], () => 0), dataType: weightType };
  const cast = { name: "to", i: 1, type: 2 };
  const file = encodeModel(
    model(["n", 2], ["n", 2], [
      node("Cast", ["w"], "v", [cast]),
      node("MatMul", ["x", "v"], "y"),
    ], [weights]),
  ).buffer;
  return readModel({
    path: "/m",
    file,
    maxBytes: 1e9,
    realDirs: null,
    shapes: {},
    generalShapes: {},
    fill: {},
  });
}

Deno.test("a model may have as many bytes as are allowed, in all of its files together", async () => {
  const directory = await Deno.makeTempDir();
  try {
    await Deno.writeFile(`${directory}/w.bin`, new Uint8Array(16));
    await Deno.writeFile(`${directory}/v.bin`, new Uint8Array(16));
    const external = (name: string) => ({
      name,
      dims: [2, 2],
      dataType: 1,
      dataLocation: 1,
      externalData: [{ key: "location", value: `${name}.bin` }],
    });
    const file = () =>
      encodeModel(
        model(["n", 2], ["n", 2], [
          node("MatMul", ["x", "w"], "m"),
          node("MatMul", ["m", "v"], "y"),
        ], [
          external("w"),
          external("v"),
        ]),
      ).buffer;
    const bytes = file().byteLength + 32;
    const source = {
      path: `${directory}/model.onnx`,
      realDirs: null,
      shapes: {},
      generalShapes: {},
      fill: {},
    };
    const { externalData } = await readModel({ ...source, file: file(), maxBytes: bytes });
    assert.deepEqual(externalData.map(({ path }) => path), ["w.bin", "v.bin"]);
    await assert.rejects(
      readModel({ ...source, file: file(), maxBytes: bytes - 1 }),
      new RegExp(`v.bin: with it the model has ${bytes} bytes; the limit is ${bytes - 1}`),
    );
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("weights are counted, and whether any are float16", async () => {
  const FLOAT16 = 10, FLOAT32 = 1;
  const single = await read(FLOAT32);
  assert.equal(single.weightsBytes, 16);
  assert.equal(single.halfPrecision, false);
  assert.equal((await read(FLOAT16)).halfPrecision, true);
});
