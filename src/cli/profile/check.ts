/** The result of a single check of `profile check`. */

/**
 * - `ok`: as it should be
 * - `warning`: it works, but something will be slow, small or missing
 * - `failed`: a node could not do its work
 * - `unknown`: could not be found out
 */
export type Level = "ok" | "warning" | "failed" | "unknown";

export interface Check {
  /** A heading that related checks share. */
  readonly group: string;
  readonly name: string;
  readonly level: Level;
  /** What was found. */
  readonly found: string;
  /** The command that makes it right, or a sentence where there is none. */
  readonly fix?: string;
  /** More than a line can say, for programs. */
  readonly details?: unknown;
}

/** Makes checks of one group. */
export function checksOf(group: string) {
  return (name: string, level: Level, found: string, fix?: string, details?: unknown): Check => ({
    group,
    name,
    level,
    found,
    ...(fix === undefined || level === "ok" ? {} : { fix }),
    ...(details === undefined ? {} : { details }),
  });
}
