/** Options of all nodes for the certificates with which they authenticate to each other. */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { Option } from "commander";
import type { TlsIdentity } from "../../wire/tls.ts";
import { UsageError } from "../exit.ts";

export interface TlsOptions {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
}

/** Environment variables that name the files, where no option does. */
const VARIABLES = {
  tlsCert: "CLOCKWORK_TLS_CERT",
  tlsKey: "CLOCKWORK_TLS_KEY",
  tlsCa: "CLOCKWORK_TLS_CA",
} as const;

export function tlsOptions(): Option[] {
  return [
    new Option(
      "--tls-cert <file>",
      "use only TLS, with this certificate (PEM); needs the next two",
    ),
    new Option("--tls-key <file>", "the certificate's private key (PEM)"),
    new Option("--tls-ca <file>", "authorities that must have signed peers' certificates (PEM)"),
  ];
}

/**
 * What the files hold; null if none is named.
 * @throws {UsageError} when one is missing, or cannot be what it must be.
 */
export function readTls(options: TlsOptions): TlsIdentity | null {
  const pathOf = (key: keyof TlsOptions) => options[key] ?? (Deno.env.get(VARIABLES[key]) || null);
  const [certPath, keyPath, caPath] = [pathOf("tlsCert"), pathOf("tlsKey"), pathOf("tlsCa")];
  if (certPath === null && keyPath === null && caPath === null) return null;
  if (certPath === null || keyPath === null || caPath === null) {
    throw new UsageError(
      "TLS needs all of --tls-cert, --tls-key and --tls-ca (or CLOCKWORK_TLS_CERT, _KEY and _CA)",
    );
  }
  const [cert, key, ca] = [read(certPath), read(keyPath), read(caPath)];
  const [own] = certificatesIn(cert, certPath);
  for (const authority of certificatesIn(ca, caPath)) {
    if (!authority.ca) throw new UsageError(`${caPath}: ${authority.subject} is no authority`);
  }
  if (!own!.checkPrivateKey(privateKeyIn(key, keyPath))) {
    throw new UsageError(`the key in ${keyPath} is not that of the certificate in ${certPath}`);
  }
  const now = Date.now();
  if (now < own!.validFromDate.getTime() || now > own!.validToDate.getTime()) {
    throw new UsageError(
      `the certificate in ${certPath} is valid from ${own!.validFrom} to ${own!.validTo}, not now`,
    );
  }
  return { cert, key, ca };
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw new UsageError(`cannot read a file for TLS: ${(error as Error).message}`);
  }
}

/** At least one. */
function certificatesIn(pem: string, path: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    if (blocks.length > 0) return blocks.map((block) => new X509Certificate(block));
  } catch {
    // The library's words help nobody.
  }
  throw new UsageError(`${path} holds no certificate in PEM that can be read`);
}

function privateKeyIn(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // Not a word of what it holds.
    throw new UsageError(`${path} holds no private key in PEM that can be read`);
  }
}
