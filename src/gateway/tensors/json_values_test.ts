import assert from "node:assert/strict";
import fc from "fast-check";
import { type Datatype, DATATYPE_BYTES } from "../../core/datatype.ts";
import {
  hasInexactIntegers,
  parseExactly,
  readValues,
  ValuesError,
  writeValues,
} from "./json_values.ts";

const datatypes = Object.keys(DATATYPE_BYTES) as Datatype[];

/** Bytes of tensors that JSON can hold: booleans are 0 or 1. */
const tensor = fc.record({
  datatype: fc.constantFrom(...datatypes),
  bytes: fc.uint8Array({ maxLength: 64 }),
}).map(({ datatype, bytes }) => ({
  datatype,
  bytes: (datatype === "BOOL" ? bytes.map((byte) => byte & 1) : bytes)
    .slice(0, bytes.length - bytes.length % DATATYPE_BYTES[datatype]),
}));

/** What must be equal: of floats their values, as there are many NaN, and JSON has no -0. */
function comparable(bytes: Uint8Array, datatype: Datatype): readonly number[] {
  const { buffer } = bytes.slice();
  const floats = { FP16: Float16Array, FP32: Float32Array, FP64: Float64Array };
  if (datatype === "FP16" || datatype === "FP32" || datatype === "FP64") {
    return Array.from(new floats[datatype](buffer), (value) => value + 0);
  }
  return [...bytes];
}

/** The list of a request's text, as the gateway reads it. */
function parse(text: string): unknown[] {
  const list = JSON.parse(text);
  return hasInexactIntegers(list) ? parseExactly(text) as unknown[] : list;
}

Deno.test("tensors of every type come back from JSON as they were", () => {
  fc.assert(
    fc.property(tensor, ({ datatype, bytes }) => {
      const text = `[${writeValues(bytes, datatype)}]`;
      const back = readValues(parse(text), datatype, bytes.length / DATATYPE_BYTES[datatype]);
      assert.deepEqual(comparable(back, datatype), comparable(bytes, datatype), text);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("values that lie anywhere in memory are written", () => {
  const bytes = new Uint8Array(9);
  bytes.set(new Uint8Array(Float64Array.of(1.5).buffer), 1);
  assert.equal(writeValues(bytes.subarray(1), "FP64"), "1.5");
  const odd = Float32Array.of(NaN, Infinity, -Infinity, 0.5);
  assert.equal(writeValues(new Uint8Array(odd.buffer), "FP32"), "null,1e999,-1e999,0.5");
});

Deno.test("large integers keep their last digits, and what a type does not hold is refused", () => {
  const int64 = (text: string) =>
    new BigInt64Array(readValues(parse(text), "INT64", 1).buffer as ArrayBuffer)[0];
  assert.equal(int64("[9223372036854775807]"), 2n ** 63n - 1n);
  assert.equal(int64("[-9223372036854775808]"), -(2n ** 63n));
  assert.equal(int64("[[9007199254740993]]"), 9007199254740993n);
  assert.equal(int64("[1e3]"), 1000n);
  const refused: [Datatype, string, RegExp][] = [
    [
      "INT64",
      "[9223372036854775808]",
      /value 0 is 9223372036854775808, expected an integer of INT64/,
    ],
    ["UINT64", "[-1]", /value 0 is -1, expected an integer of UINT64/],
    ["UINT64", "[18446744073709551616]", /expected an integer of UINT64/],
    ["UINT8", "[1, 256]", /value 1 is 256, expected an integer of UINT8/],
    ["INT8", "[-129]", /value 0 is -129/],
    ["INT32", "[12345678901234567890]", /value 0 is 12345678901234567890/],
    ["INT32", "[1.5]", /value 0 is 1\.5, expected an integer of INT32/],
    ["BOOL", "[1]", /value 0 is 1, expected true or false/],
    ["FP32", "[true]", /value 0 is true, expected a number/],
    ["INT8", "[null]", /value 0 is null, expected an integer of INT8/],
    ["FP32", '["1"]', /value 0 is "1", expected a number/],
    ["FP32", '[{"a":1}]', /value 0 is an object, expected a number/],
  ];
  for (const [datatype, text, problem] of refused) {
    const count = text.split(", ").length;
    assert.throws(() => readValues(parse(text), datatype, count), (error) => {
      assert.ok(error instanceof ValuesError);
      assert.match(error.message, problem);
      return true;
    });
  }
});

Deno.test("the count must be right; nesting does not matter, within bounds", () => {
  assert.deepEqual([...readValues([[1, 2], [[3]], []], "UINT8", 3)], [1, 2, 3]);
  assert.throws(() => readValues([1, 2], "UINT8", 3), /3 values were expected, and there are 2/);
  assert.throws(() => readValues([1, [2, 3]], "UINT8", 2), /there are more than 2 values/);
  const deep = parse(`${"[".repeat(100)}1${"]".repeat(100)}`);
  assert.throws(() => readValues(deep, "UINT8", 1), /nested more than 64 deep/);
});
