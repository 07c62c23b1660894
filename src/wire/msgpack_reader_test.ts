import assert from "node:assert/strict";
import fc from "fast-check";
import { Packr } from "msgpackr";
import { MsgpackError, MsgpackReader } from "./msgpack_reader.ts";

const packr = new Packr({ useRecords: false, variableMapSize: true, int64AsType: "number" });

function read(bytes: Uint8Array): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return new MsgpackReader().read(bytes, view, 0, bytes.length);
}

function refusal(bytes: Uint8Array): string {
  try {
    read(bytes);
  } catch (error) {
    assert.ok(error instanceof MsgpackError, `not a MsgpackError: ${(error as Error).stack}`);
    return error.message;
  }
  return assert.fail("it was accepted");
}

/** A large value's head followed by `length` times the same byte. */
function repeated(head: readonly number[], byte: number, length: number): Uint8Array {
  const bytes = new Uint8Array(head.length + length).fill(byte);
  bytes.set(head);
  return bytes;
}

const uint32 = (n: number) => [n >>> 24, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff];

Deno.test("reads what a common library writes, as that library does", () => {
  const key = fc.string({ unit: "binary", maxLength: 40 }).filter((key) => key !== "__proto__");
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.constantFrom(null, true, false),
      fc.integer(),
      fc.maxSafeInteger(),
      fc.double(),
      fc.string({ unit: "binary", maxLength: 70 }),
      fc.array(tie("value"), { maxLength: 20 }),
      fc.dictionary(key, tie("value"), { maxKeys: 20, noNullPrototype: true }),
    ),
  }));
  const reader = new MsgpackReader();
  fc.assert(
    fc.property(value, fc.nat(9), (value, before) => {
      const packed = packr.pack(value);
      // Somewhere within a larger array, as in the parser.
      const bytes = new Uint8Array(before + packed.length + 5).fill(0xc1);
      bytes.set(packed, before);
      const end = before + packed.length;
      const read = reader.read(bytes, new DataView(bytes.buffer), before, end);
      assert.deepEqual(read, packr.unpack(packed));
    }),
    { numRuns: 1000 },
  );
});

Deno.test("reads every width of integers, floats, strings and lists", () => {
  const cases: [number[], unknown][] = [
    [[0x7f], 127],
    [[0xe0], -32],
    [[0xcc, 255], 255],
    [[0xcd, 255, 255], 65_535],
    [[0xce, 255, 255, 255, 255], 4_294_967_295],
    [[0xcf, 0, 0x1f, 255, 255, 255, 255, 255, 255], 2 ** 53 - 1],
    [[0xd0, 0x80], -128],
    [[0xd1, 0x80, 0], -32_768],
    [[0xd2, 0x80, 0, 0, 0], -(2 ** 31)],
    [[0xd3, 255, 255, 255, 255, 255, 255, 255, 254], -2],
    [[0xca, 0x3f, 0xc0, 0, 0], 1.5],
    [[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], 1.5],
    [[0xd9, 1, 0x61], "a"],
    [[0xda, 0, 1, 0x61], "a"],
    [[0xdb, 0, 0, 0, 1, 0x61], "a"],
    [[0xc4, 1, 9], Uint8Array.of(9)],
    [[0xc5, 0, 1, 9], Uint8Array.of(9)],
    [[0xc6, 0, 0, 0, 1, 9], Uint8Array.of(9)],
    [[0xdc, 0, 1, 9], [9]],
    [[0xdd, 0, 0, 0, 1, 9], [9]],
    [[0xde, 0, 1, 0xa1, 0x61, 9], { a: 9 }],
    [[0xdf, 0, 0, 0, 1, 0xd9, 1, 0x61, 9], { a: 9 }],
    [[0x81, 0xda, 0, 1, 0x61, 9], { a: 9 }],
    [[0x81, 0xa0, 0xc0], { "": null }],
  ];
  for (const [bytes, value] of cases) assert.deepEqual(read(Uint8Array.from(bytes)), value);
});

Deno.test("any bytes are read or refused, and never read beyond their end", () => {
  const tokens = fc.constantFrom(0x81, 0x91, 0xa3, 0xc4, 0xca, 0xcf, 0xd9, 0xdb, 0xdc, 0xdf);
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.nat(255), tokens), { maxLength: 40 }), (values) => {
      const bytes = Uint8Array.from(values);
      try {
        read(bytes);
      } catch (error) {
        assert.ok(error instanceof MsgpackError, `${(error as Error).stack}`);
      }
    }),
    { numRuns: 5000 },
  );
});

Deno.test("a value that is cut short anywhere is refused", () => {
  const whole = Uint8Array.from(packr.pack({
    id: 70_000,
    name: "a name that is longer than thirty-two bytes",
    list: [1.5, -3, 2 ** 40, null, "x"],
    nested: { big: 2 ** 33 },
  }));
  read(whole);
  for (let end = 0; end < whole.length; end++) {
    assert.equal(refusal(whole.slice(0, end)), "it ends too early", `cut at ${end}`);
  }
});

Deno.test("nesting does not cost stack", () => {
  for (const token of [0x91, 0x81]) {
    assert.match(refusal(repeated([], token, 1_000_000)), /nested deeper|name is not a string/);
  }
  assert.equal(refusal(repeated([], 0x91, 1_000_000)), "nested deeper than 16");
});

Deno.test("few bytes cannot become much memory", () => {
  // Claims of lengths that are not there.
  for (const token of [0xdb, 0xc6, 0xdd, 0xdf]) {
    assert.match(
      refusal(Uint8Array.of(token, 255, 255, 255, 255, 0)),
      /ends too early|more values/,
    );
  }
  // Four million empty maps, lists or strings, which are there.
  const n = 4_000_000;
  for (const token of [0x80, 0x90, 0xa0]) {
    assert.equal(
      refusal(repeated([0xdd, ...uint32(n)], token, n)),
      "it holds more values than a header may",
    );
  }
  // A map of as many fields as fit.
  const fields = new Uint8Array(5 + 2 * n);
  fields.set([0xdf, ...uint32(n)]);
  for (let i = 5; i < fields.length; i += 2) fields[i] = 0xa0;
  assert.equal(refusal(fields), "it holds more values than a header may");
  // A list of as many small numbers is fine: it takes eight bytes each.
  assert.equal((read(repeated([0xdd, ...uint32(n)], 1, n)) as unknown[]).length, n);
});

Deno.test("what has no place in a header is refused", () => {
  // Extensions: fixext 1 (a regular expression in one library), ext 8, ext 32; and 0xc1.
  for (const token of [0xc1, 0xc7, 0xc9, 0xd4, 0xd8]) {
    assert.match(
      refusal(Uint8Array.of(token, 0x78, 0, 0x92, 0xa1, 0x61, 0xa0, 0, 0, 0)),
      new RegExp(`^type byte 0x${token.toString(16)} has no place in a header$`),
    );
  }
  assert.equal(refusal(Uint8Array.of(0x81, 0x01, 0x02)), "a field's name is not a string");
  assert.equal(refusal(Uint8Array.of(0xa2, 0xc3, 0x28)), "a string is not UTF-8");
  assert.equal(refusal(Uint8Array.of(0x81, 0xa1, 0xff, 1)), "a string is not UTF-8");
});

Deno.test("a field named __proto__ changes nothing", () => {
  const bytes = Uint8Array.from(packr.pack(JSON.parse('{"__proto__":{"evil":1},"a":2}')));
  const value = read(bytes) as Record<string, unknown>;
  assert.equal(value.evil, undefined);
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
});

Deno.test("fields that fall on the same slot keep their names", () => {
  fc.assert(fc.property(fc.array(fc.string({ maxLength: 5 }), { maxLength: 300 }), (names) => {
    const reader = new MsgpackReader();
    for (const name of names) {
      if (name === "__proto__") continue;
      const bytes = Uint8Array.from(packr.pack({ [name]: 1 }));
      const value = reader.read(bytes, new DataView(bytes.buffer), 0, bytes.length);
      assert.deepEqual(Object.keys(value as object), [name]);
    }
  }));
});
