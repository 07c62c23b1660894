/** For tests: certificates, made as they are needed. */
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";
import type { TlsIdentity } from "./tls.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY_MS = 86_400_000;

export interface CertificateOptions {
  /** DNS names and IP addresses of its owner. */
  readonly names?: readonly string[];
  /** From when and until when it is valid, in days from now. */
  readonly days?: readonly [number, number];
}

/** An authority that signs certificates. */
export class TestAuthority {
  readonly #keys: CryptoKeyPair;
  readonly #certificate: x509.X509Certificate;

  private constructor(keys: CryptoKeyPair, certificate: x509.X509Certificate) {
    this.#keys = keys;
    this.#certificate = certificate;
  }

  static async make(name = "authority"): Promise<TestAuthority> {
    const keys = await makeKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: `CN=${name}`,
      keys,
      signingAlgorithm: ALGORITHM,
      ...validity([-1, 1]),
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      ],
    });
    return new TestAuthority(keys, certificate);
  }

  /** This authority's own certificate, in PEM. */
  get ca(): string {
    return this.#certificate.toString("pem");
  }

  /** Signs a new certificate; its owner believes this authority. */
  async identity(
    { names = ["localhost", "127.0.0.1"], days = [-1, 1] }: CertificateOptions = {},
  ): Promise<TlsIdentity> {
    const { publicKey, privateKey } = await makeKeys();
    const certificate = await x509.X509CertificateGenerator.create({
      subject: `CN=${names[0]}`,
      issuer: this.#certificate.subject,
      publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: ALGORITHM,
      ...validity(days),
      extensions: [
        new x509.SubjectAlternativeNameExtension(
          names.map((value) => ({
            type: isIP(value) === 0 ? "dns" as const : "ip" as const,
            value,
          })),
        ),
      ],
    });
    const key = new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey));
    return {
      cert: certificate.toString("pem"),
      key: x509.PemConverter.encode(key.buffer, "PRIVATE KEY"),
      ca: this.ca,
    };
  }
}

function makeKeys(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

function validity([from, to]: readonly [number, number]): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now + from * DAY_MS), notAfter: new Date(now + to * DAY_MS) };
}
