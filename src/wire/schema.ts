/**
 * Descriptions of message headers that check what a peer sent.
 *
 * A header is a msgpack map. Each kind of message has a schema that names its fields and what they
 * may hold; checking costs a few property reads, and a TypeScript type follows from the schema.
 */

import { MAX_TIME_NS } from "../core/clock.ts";

/** A header that is not what the protocol says. The message names the field, and what it should be. */
export class HeaderError extends Error {
  override readonly name = "HeaderError";
}

/** Checks one value. `where` names the field in the error. */
export type Check<T> = (value: unknown, where: string) => T;

export type Fields = Readonly<Record<string, Check<unknown>>>;

/** Names of fields that may be left out. */
type Optional<F extends Fields> = {
  [K in keyof F]: undefined extends ReturnType<F[K]> ? K : never;
}[keyof F];

/** The type of the headers that a schema accepts. */
export type HeaderOf<F extends Fields> =
  & { readonly [K in Exclude<keyof F, Optional<F>>]: ReturnType<F[K]> }
  & { readonly [K in Optional<F>]?: Exclude<ReturnType<F[K]>, undefined> };

function fail(where: string, expected: string, value: unknown): never {
  const shown = typeof value === "object" ? (value === null ? "null" : "an object") : String(value);
  throw new HeaderError(`${where} must be ${expected}, got ${shown.slice(0, 80)}`);
}

/** An integer in [0, max]. */
export function uint(max = 0xffff_ffff): Check<number> {
  return (value, where) =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max
      ? value as number
      : fail(where, `an integer from 0 to ${max}`, value);
}

/** A dimension of a tensor: an integer from -1, which stands for one that is not fixed. */
export const dimension: Check<number> = (value, where) =>
  Number.isSafeInteger(value) && (value as number) >= -1
    ? value as number
    : fail(where, "a list of integers from -1", value);

/** A time or duration in nanoseconds, which need not be whole. */
export const nanoseconds: Check<number> = (value, where) =>
  typeof value === "number" && Math.abs(value) <= MAX_TIME_NS
    ? value
    : fail(where, "a number of nanoseconds within 36 years", value);

/** A finite number that is not negative. */
export const nonNegative: Check<number> = (value, where) =>
  typeof value === "number" && value >= 0 && value < Infinity
    ? value
    : fail(where, "a number that is not negative", value);

/** A string of at most `maxLength` UTF-16 units. */
export function text(maxLength: number): Check<string> {
  return (value, where) =>
    typeof value === "string" && value.length <= maxLength
      ? value
      : fail(where, `text of at most ${maxLength} characters`, value);
}

/** As `text`, of a field that may be left out. */
export function optionalText(maxLength: number): Check<string | undefined> {
  const check = text(maxLength);
  return (value, where) => value === undefined ? undefined : check(value, where);
}

/** As `text`, for what must not be told to anyone: it is not in the error. It may be left out. */
export function secret(maxLength: number): Check<string> {
  return (value, where) => {
    const told = value ?? "";
    if (typeof told === "string" && told.length <= maxLength) return told;
    throw new HeaderError(`${where} must be text of at most ${maxLength} characters`);
  };
}

/** An array of at most `maxLength` values. */
export function list<T>(of: Check<T>, maxLength: number): Check<readonly T[]> {
  return (value, where) => {
    if (!Array.isArray(value) || value.length > maxLength) {
      fail(where, `a list of at most ${maxLength} values`, value);
    }
    for (let i = 0; i < value.length; i++) of(value[i], where);
    return value;
  };
}

/** A map with these fields. Further fields are ignored, so that a newer peer may send more. */
export function record<F extends Fields>(fields: F): Check<HeaderOf<F>> {
  const names = Object.keys(fields);
  return (value, where) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      fail(where, "a map", value);
    }
    const map = value as Record<string, unknown>;
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!;
      fields[name]!(map[name], name);
    }
    return map as HeaderOf<F>;
  };
}
