/** Options of all nodes for authentication, and for serving peers without it. */
import type { Command } from "commander";
import { type Access, MAX_TOKEN_LENGTH } from "../../wire/access.ts";
import type { TlsIdentity } from "../../wire/tls.ts";
import { UsageError } from "../exit.ts";
import { readTls, type TlsOptions, tlsOptions } from "./tls_files.ts";

/** Fewer characters could be guessed. */
const MIN_TOKEN_LENGTH = 16;

/** What a node shows to those that it connects to. */
export interface Credentials {
  readonly token: string | null;
  readonly tls: TlsIdentity | null;
}

export interface CredentialOptions extends TlsOptions {
  readonly tokenFile?: string;
}

export interface AccessOptions extends CredentialOptions {
  readonly insecure: boolean;
}

/** Adds the options of a node that connects to others. */
export function addCredentialOptions(command: Command): Command {
  command.option(
    "--token-file <file>",
    "the cluster's shared token, instead of CLOCKWORK_TOKEN's value",
  );
  for (const option of tlsOptions()) command.addOption(option);
  return command;
}

/** Adds the options of a node that listens. */
export function addAccessOptions(command: Command): Command {
  return addCredentialOptions(command)
    .option("--insecure", "serve other machines even without a token or TLS", false);
}

/** Lines on the environment for the help of all nodes; explanations begin in this column. */
export function credentialsHelp(column: number): string {
  return [
    "  CLOCKWORK_TOKEN".padEnd(column) + "the cluster's shared token",
    "  CLOCKWORK_TLS_CERT, CLOCKWORK_TLS_KEY, CLOCKWORK_TLS_CA",
    " ".repeat(column) + "files for TLS, unless --tls-cert, --tls-key and --tls-ca name them",
  ].join("\n");
}

/**
 * The token of the file or else of the environment; null if neither is given.
 * @throws {UsageError} that does not tell the token.
 */
export function readSecret(file: string | undefined, variable: string): string | null {
  const where = file ?? variable;
  let token: string;
  try {
    token = file === undefined ? Deno.env.get(variable) ?? "" : Deno.readTextFileSync(file);
  } catch (error) {
    throw new UsageError(`cannot read the token: ${(error as Error).message}`);
  }
  token = token.trim();
  if (token === "" && file === undefined) return null;
  if (token.length < MIN_TOKEN_LENGTH || token.length > MAX_TOKEN_LENGTH) {
    throw new UsageError(
      `the token of ${where} has ${token.length} characters, expected ${MIN_TOKEN_LENGTH} to ` +
        `${MAX_TOKEN_LENGTH}; make one with: openssl rand -hex 32`,
    );
  }
  return token;
}

/**
 * What the options and the environment name.
 * @throws {UsageError} that does not tell the secrets.
 */
export function readCredentials(options: CredentialOptions): Credentials {
  return {
    token: readSecret(options.tokenFile, "CLOCKWORK_TOKEN"),
    tls: readTls(options),
  };
}

/** Whom a node with these credentials serves. */
export function accessOf({ token }: Credentials, { insecure }: AccessOptions): Access {
  return { token, insecure };
}

/** As options of what connects. */
export function asPeer({ token, tls }: Credentials): { token?: string; tls?: TlsIdentity } {
  return { ...(token === null ? {} : { token }), ...asTls(tls) };
}

/** As an option of what listens. */
export function asTls(tls: TlsIdentity | null): { tls?: TlsIdentity } {
  return tls === null ? {} : { tls };
}
