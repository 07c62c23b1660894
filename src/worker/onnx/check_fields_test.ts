import assert from "node:assert/strict";
import fc from "fast-check";
import { generateModels } from "../../../testdata/generate.ts";
import { checkFields } from "./check_fields.ts";
import { decodeModel } from "./proto.ts";

const MODELS = [...generateModels()].filter(([path]) => path.endsWith(".onnx"));

Deno.test("models pass", () => {
  assert.ok(MODELS.length > 0);
  for (const [, bytes] of MODELS) checkFields(bytes);
});

Deno.test("a file that ends in zeros is refused, wherever they begin", () => {
  for (const [path, bytes] of MODELS) {
    const file = new Uint8Array(bytes.length + 1000);
    for (const written of [0, 1, bytes.length >> 2, bytes.length >> 1]) {
      file.set(bytes.subarray(0, written));
      assert.throws(() => checkFields(file), `${path}, ${written}`);
    }
    file.set(bytes);
    assert.throws(
      () => decodeModel(file),
      new RegExp(`not an ONNX file: there are zeros from offset ${bytes.length} on`),
    );
  }
});

Deno.test("fields of every kind are passed over, and zeros in a graph are seen", () => {
  const version = [0x08, 8];
  const fixed64 = [0x09, ...new Array(8).fill(0xff)];
  const fixed32 = [0x0d, ...new Array(4).fill(0xff)];
  const varint = [0x28, 0xff, 0xff, 0x7f];
  const text = [0x12, 2, 0, 0];
  checkFields(Uint8Array.of(...fixed64, ...version, ...fixed32, ...version, ...varint, ...text));
  checkFields(Uint8Array.of(...version, 0x3a, 2, ...version));
  assert.throws(
    () => checkFields(Uint8Array.of(...version, 0x3a, 4, ...version, 0, 0, ...version)),
    /there are zeros from offset 6 on/,
  );
});

Deno.test("whatever else is damaged passes, or is refused with a reason", () => {
  const [, bytes] = MODELS[0]!;
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
      const changed = bytes.slice();
      changed[at] = value;
      try {
        checkFields(changed);
      } catch (error) {
        assert.match(
          (error as Error).message,
          /^(there are zeros|no (field|number)|a field|it ends)/,
        );
      }
    }),
  );
});
