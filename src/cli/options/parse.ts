/** Parsers of options and arguments. Each throws commander's InvalidArgumentError: exit code 2. */
import { InvalidArgumentError } from "commander";
import { MS, SECOND } from "../../core/clock.ts";
import { type Address, parseAddress } from "../../wire/tcp.ts";

const unitNs: Readonly<Record<string, number>> = {
  ms: MS,
  s: SECOND,
  m: 60 * SECOND,
  h: 3600 * SECOND,
};

/** "20s", "500ms", "1.5m", "2h", or seconds without a unit; in nanoseconds, more than 0. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text.trim());
  const ns = match === null ? NaN : Math.round(Number(match[1]) * unitNs[match[2] ?? "s"]!);
  if (!(ns > 0) || ns > Number.MAX_SAFE_INTEGER) {
    throw new InvalidArgumentError("Expected a time such as 20s, 500ms, 2m or 1h.");
  }
  return ns;
}

/** Reads a whole number in [min, max]. */
export function parseInteger(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value >= min && value <= max)) {
      throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

/** Where to listen: `[HOST:]PORT`, on this machine only unless the host is given. */
export function parseListenAddress(text: string): Address {
  if (/^\d{1,5}$/.test(text)) text = `127.0.0.1:${text}`;
  try {
    // Port 0 is none that one can ask for: an address must tell its port.
    return parseAddress(text, 0);
  } catch {
    throw new InvalidArgumentError("Expected [HOST:]PORT, e.g. 9100 or 0.0.0.0:9100.");
  }
}
