/**
 * Reads the msgpack of message headers, which come from untrusted peers.
 *
 * General decoders trust their input too much: eight megabytes of "empty map" become half a gigabyte of
 * objects, nesting costs stack, extension types create regular expressions and dates. A header needs nil,
 * booleans, numbers, strings, byte strings, arrays and maps with string keys, so this reads only those,
 * with limits on nesting and on the memory of the decoded header. All integers are numbers, whatever width
 * the peer chose.
 */

/** The bytes are not the msgpack of a header. The message says what is wrong. */
export class MsgpackError extends Error {
  override readonly name = "MsgpackError";
}

/** Deepest nesting of arrays and maps. The protocol's own headers have three levels. */
const MAX_DEPTH = 16;

/**
 * What values cost in memory, about, in bytes. A header may become as much as {@link FREE_COST} and
 * {@link COST_PER_BYTE} times its own size; a list of one-byte numbers needs eight times its size, and
 * the protocol's largest headers about five times.
 */
const CONTAINER_COST = 64;
const ELEMENT_COST = 8;
const FIELD_COST = 32;
const STRING_COST = 24;
const FREE_COST = 4096;
const COST_PER_BYTE = 8;

/** Strings up to this length are decoded here: calling the platform's decoder costs more. */
const SHORT_STRING = 32;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Field names seen before, found by length and a few bytes, as they recur in every header. */
const KEY_SLOTS = 1024;

export class MsgpackReader {
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(this.#bytes.buffer);
  #position = 0;
  #end = 0;
  #budget = 0;
  readonly #keys: (Key | undefined)[] = new Array(KEY_SLOTS);

  /**
   * Returns the one value that bytes [start, end) hold. `view` must show the same memory as `bytes`.
   * The value keeps nothing of `bytes`.
   * @throws {MsgpackError}
   */
  read(bytes: Uint8Array, view: DataView, start: number, end: number): unknown {
    this.#bytes = bytes;
    this.#view = view;
    this.#position = start;
    this.#end = end;
    this.#budget = FREE_COST + COST_PER_BYTE * (end - start);
    const value = this.#value(0);
    if (this.#position !== end) throw new MsgpackError(`${end - this.#position} bytes left over`);
    return value;
  }

  #value(depth: number): unknown {
    const token = this.#bytes[this.#take(1)]!;
    if (token < 0x80) return token;
    if (token < 0x90) return this.#map(token & 0x0f, depth);
    if (token < 0xa0) return this.#array(token & 0x0f, depth);
    if (token < 0xc0) return this.#string(token & 0x1f);
    if (token >= 0xe0) return token - 0x100;
    const view = this.#view;
    switch (token) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#binary(view.getUint8(this.#take(1)));
      case 0xc5:
        return this.#binary(view.getUint16(this.#take(2)));
      case 0xc6:
        return this.#binary(view.getUint32(this.#take(4)));
      case 0xca:
        return view.getFloat32(this.#take(4));
      case 0xcb:
        return view.getFloat64(this.#take(8));
      case 0xcc:
        return view.getUint8(this.#take(1));
      case 0xcd:
        return view.getUint16(this.#take(2));
      case 0xce:
        return view.getUint32(this.#take(4));
      case 0xcf: {
        const at = this.#take(8);
        return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
      }
      case 0xd0:
        return view.getInt8(this.#take(1));
      case 0xd1:
        return view.getInt16(this.#take(2));
      case 0xd2:
        return view.getInt32(this.#take(4));
      case 0xd3: {
        const at = this.#take(8);
        return view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4);
      }
      case 0xd9:
        return this.#string(view.getUint8(this.#take(1)));
      case 0xda:
        return this.#string(view.getUint16(this.#take(2)));
      case 0xdb:
        return this.#string(view.getUint32(this.#take(4)));
      case 0xdc:
        return this.#array(view.getUint16(this.#take(2)), depth);
      case 0xdd:
        return this.#array(view.getUint32(this.#take(4)), depth);
      case 0xde:
        return this.#map(view.getUint16(this.#take(2)), depth);
      case 0xdf:
        return this.#map(view.getUint32(this.#take(4)), depth);
      default:
        throw new MsgpackError(`type byte 0x${token.toString(16)} has no place in a header`);
    }
  }

  #array(length: number, depth: number): unknown[] {
    this.#enter(depth, length, CONTAINER_COST + length * ELEMENT_COST);
    const array: unknown[] = [];
    for (let i = 0; i < length; i++) array.push(this.#value(depth + 1));
    return array;
  }

  #map(length: number, depth: number): Record<string, unknown> {
    this.#enter(depth, length * 2, CONTAINER_COST + length * FIELD_COST);
    const map: Record<string, unknown> = {};
    for (let i = 0; i < length; i++) {
      const key = this.#key();
      const value = this.#value(depth + 1);
      // Assigning this one would change the map's prototype. No header has such a field.
      if (key !== "__proto__") map[key] = value;
    }
    return map;
  }

  #key(): string {
    const token = this.#bytes[this.#take(1)]!;
    if (token >= 0xa0 && token < 0xc0) return this.#shortKey(token & 0x1f);
    if (token === 0xd9) return this.#string(this.#view.getUint8(this.#take(1)));
    if (token === 0xda) return this.#string(this.#view.getUint16(this.#take(2)));
    throw new MsgpackError("a field's name is not a string");
  }

  #shortKey(length: number): string {
    const start = this.#take(length);
    const bytes = this.#bytes;
    const slot = length === 0
      ? 0
      : (length * 31 + bytes[start]! * 7 + bytes[start + length - 1]! * 131 +
        bytes[start + (length >> 1)]! * 17) % KEY_SLOTS;
    const known = this.#keys[slot];
    if (known !== undefined && known.bytes.length === length) {
      let i = 0;
      while (i < length && known.bytes[i] === bytes[start + i]) i++;
      if (i === length) return known.text;
    }
    const text = this.#decode(start, length);
    this.#keys[slot] = { bytes: bytes.slice(start, start + length), text };
    return text;
  }

  #string(length: number): string {
    this.#spend(STRING_COST + length);
    return this.#decode(this.#take(length), length);
  }

  #decode(start: number, length: number): string {
    const bytes = this.#bytes;
    if (length <= SHORT_STRING) {
      let text = "";
      let i = 0;
      for (; i < length; i++) {
        const byte = bytes[start + i]!;
        if (byte >= 0x80) break;
        text += String.fromCharCode(byte);
      }
      if (i === length) return text;
    }
    try {
      return decoder.decode(bytes.subarray(start, start + length));
    } catch {
      throw new MsgpackError("a string is not UTF-8");
    }
  }

  #binary(length: number): Uint8Array {
    this.#spend(CONTAINER_COST + length);
    const start = this.#take(length);
    return this.#bytes.slice(start, start + length);
  }

  /** Before an array or map: its values must fit into what is left, as each takes a byte or more. */
  #enter(depth: number, values: number, cost: number): void {
    if (depth >= MAX_DEPTH) throw new MsgpackError(`nested deeper than ${MAX_DEPTH}`);
    if (values > this.#end - this.#position) throw new MsgpackError("it ends too early");
    this.#spend(cost);
  }

  #spend(cost: number): void {
    this.#budget -= cost;
    if (this.#budget < 0) throw new MsgpackError("it holds more values than a header may");
  }

  /** Moves past `length` bytes, which must be there; returns where they start. */
  #take(length: number): number {
    const start = this.#position;
    if (length > this.#end - start) throw new MsgpackError("it ends too early");
    this.#position = start + length;
    return start;
  }
}

interface Key {
  readonly bytes: Uint8Array;
  readonly text: string;
}
