/**
 * Walks over the outer fields of an ONNX file before it is decoded. Of a file that was never wholly written, a
 * large part may be zeros, which the decoder would take for so many empty fields: some ten seconds for 2 GB.
 */

/** `ModelProto.graph`. */
const GRAPH_FIELD = 7;

/** How protobuf says what comes after a field's number. */
const WireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

interface Cursor {
  readonly bytes: Uint8Array;
  offset: number;
}

/** Reads a number of up to 64 bits; exact up to 2^53, which no length exceeds. */
function readVarint(cursor: Cursor): number {
  let value = 0;
  for (let scale = 1; scale <= 2 ** 63; scale *= 128) {
    const byte = cursor.bytes[cursor.offset++];
    if (byte === undefined) throw new Error("it ends within a field");
    value += (byte & 127) * scale;
    if (byte < 128) return value;
  }
  throw new Error(`no number ends at offset ${cursor.offset}`);
}

/**
 * Checks that the fields of a model, and those of its graph, follow each other up to the end.
 *
 * @throws {Error} whose message says where they do not.
 */
export function checkFields(bytes: Uint8Array): void {
  walk({ bytes, offset: 0 }, bytes.length, (field, cursor, end) => {
    if (field === GRAPH_FIELD) walk({ bytes, offset: cursor.offset }, end, () => {});
  });
}

/** Calls `onBytes` with each field that has a length, the cursor at its contents, which end at `end`. */
function walk(
  cursor: Cursor,
  endOffset: number,
  onBytes: (field: number, cursor: Cursor, end: number) => void,
): void {
  while (cursor.offset < endOffset) {
    const begin = cursor.offset;
    const tag = readVarint(cursor);
    const field = Math.floor(tag / 8);
    if (field === 0) {
      throw new Error(
        tag === 0
          ? `there are zeros from offset ${begin} on where more of the model should be: it was ` +
            "not written to its end"
          : `no field begins at offset ${begin}`,
      );
    }
    switch (tag % 8) {
      case WireType.varint:
        readVarint(cursor);
        break;
      case WireType.fixed64:
        cursor.offset += 8;
        break;
      case WireType.fixed32:
        cursor.offset += 4;
        break;
      case WireType.bytes: {
        const length = readVarint(cursor);
        const end = cursor.offset + length;
        if (end > endOffset) {
          throw new Error(`a field of ${length} bytes at offset ${begin} goes beyond the end`);
        }
        onBytes(field, cursor, end);
        cursor.offset = end;
        break;
      }
      default:
        throw new Error(`no field begins at offset ${begin}`);
    }
  }
}
