/** The file that `--users` names, with the limits of users. */
import { parse, TomlError } from "smol-toml";
import { z } from "zod";
import {
  DEFAULT_USER_LIMITS,
  type UserLimits,
  type UserPolicy,
} from "../../controller/admission.ts";
import { UsageError } from "../exit.ts";

const limits = z.strictObject({
  /** Share of the GPUs while users compete. */
  weight: z.number().positive().max(1e6),
  /** Requests a second. */
  rate: z.number().positive().max(1e9),
  burst: z.number().int().min(1).max(1e6),
  max_requests: z.number().int().min(1).max(1e6),
}).partial();

const schema = z.strictObject({
  default: limits.optional(),
  users: z.record(z.string().regex(/^\d{1,10}$/, "a user is a number"), limits).optional(),
});

/**
 * Reads a policy.
 * @throws {Error} with a message for the user.
 */
export function parseUsers(text: string): UserPolicy {
  const read = schema.safeParse(parse(text));
  if (!read.success) {
    const { path, message } = read.error.issues[0]!;
    throw new Error(`${path.join(".")}: ${message}`.replace(/^: /, ""));
  }
  const others = withDefaults(read.data.default ?? {}, DEFAULT_USER_LIMITS);
  const named = Object.entries(read.data.users ?? {}).map(
    ([id, own]) => [Number(id), withDefaults(own, others)] as const,
  );
  return { others, named: new Map(named) };
}

/** @throws {UsageError} naming the file. */
export function readUsers(path: string): UserPolicy {
  try {
    return parseUsers(Deno.readTextFileSync(path));
  } catch (error) {
    // The parser shows the line in question after its first line; that is enough here.
    const message = (error as Error).message;
    const shown = error instanceof TomlError ? `line ${error.line}: ${message}` : message;
    throw new UsageError(`cannot read users from ${path}: ${shown.split("\n")[0]}`);
  }
}

function withDefaults(own: z.infer<typeof limits>, others: UserLimits): UserLimits {
  return {
    weight: own.weight ?? others.weight,
    ratePerSecond: own.rate ?? others.ratePerSecond,
    burst: own.burst ?? others.burst,
    maxRequests: own.max_requests ?? others.maxRequests,
  };
}
