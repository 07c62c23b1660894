/** The shared token of a cluster, and who may connect without one: options of all nodes. */
import { Option } from "commander";
import { type Access, MAX_TOKEN_LENGTH } from "../wire/access.ts";
import { UsageError } from "./exit.ts";

/** Fewer characters could be guessed. */
const MIN_TOKEN_LENGTH = 16;

export interface TokenOptions {
  readonly tokenFile?: string;
}

export interface AccessOptions extends TokenOptions {
  readonly insecure: boolean;
}

export function tokenOption(): Option {
  return new Option(
    "--token-file <file>",
    "the cluster's shared token, instead of CLOCKWORK_TOKEN's value",
  );
}

export function insecureOption(): Option {
  return new Option("--insecure", "without a token, serve other machines too").default(false);
}

/**
 * The token of the file or else of the environment; null if neither is given.
 * @throws {UsageError} that does not tell the token.
 */
export function readToken({ tokenFile }: TokenOptions): string | null {
  const where = tokenFile ?? "CLOCKWORK_TOKEN";
  let token: string;
  try {
    token = tokenFile === undefined
      ? Deno.env.get("CLOCKWORK_TOKEN") ?? ""
      : Deno.readTextFileSync(tokenFile);
  } catch (error) {
    throw new UsageError(`cannot read the token: ${(error as Error).message}`);
  }
  token = token.trim();
  if (token === "" && tokenFile === undefined) return null;
  if (token.length < MIN_TOKEN_LENGTH || token.length > MAX_TOKEN_LENGTH) {
    throw new UsageError(
      `the token of ${where} has ${token.length} characters, expected ${MIN_TOKEN_LENGTH} to ` +
        `${MAX_TOKEN_LENGTH}; make one with: openssl rand -hex 32`,
    );
  }
  return token;
}

/** Whom a node serves, and what it says to those that it connects to. */
export function readAccess(options: AccessOptions): Access {
  return { token: readToken(options), insecure: options.insecure };
}

/** As an option of what connects. */
export function asToken(token: string | null): { token?: string } {
  return token === null ? {} : { token };
}
