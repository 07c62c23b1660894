/** Numbers as the terminal and the page show them. */
import { MS } from "../../core/clock.ts";

/** Nanoseconds in milliseconds; a dash for none. */
export function formatMs(ns: number | null | undefined, digits = 2): string {
  if (ns === null || ns === undefined) return "–";
  // What rounds to nothing has no sign.
  return (ns / MS).toFixed(digits).replace(/^-(?=[0.]+$)/, "");
}

/** 1234567 as "1,234,567". */
export function formatCount(value: number): string {
  return value.toLocaleString("en-US");
}

/** Rounded down, so that 100 % is said of all only. */
export function formatShare(part: number, of: number): string {
  return of === 0 ? "–" : `${(Math.floor(part * 10_000 / of) / 100).toFixed(2)} %`;
}

/** Requests in a batch, on average. */
export function formatPerBatch(requests: number, batches: number): string {
  return batches === 0 ? "–" : (requests / batches).toFixed(2);
}
