/** Decides who may connect: peers on the same machine, and those with the shared token. */
import { createHash, timingSafeEqual } from "node:crypto";

/** Longest token, in characters. */
export const MAX_TOKEN_LENGTH = 1024;

export interface Access {
  /** What peers must say to be served, wherever they are; null: none is asked for. */
  readonly token: string | null;
  /** Without a token, serve peers on other machines too. */
  readonly insecure: boolean;
}

/** Nobody from other machines. */
export const LOCAL_ONLY: Access = { token: null, insecure: false };

/** Why a peer is refused on account of where it is; null: it is not. */
export function addressRefusal(access: Access, local: boolean): string | null {
  if (local || access.token !== null || access.insecure) return null;
  return "this node has neither a token nor TLS, and so serves its own machine only: set " +
    "CLOCKWORK_TOKEN or certificates for both sides, or start this one with --insecure";
}

/** Why a peer is refused on account of its token; null: it is not. Tells nothing of the right one. */
export function tokenRefusal({ token }: Access, told: string): string | null {
  if (token === null) return null;
  if (told === "") return "this node asks for a token: set CLOCKWORK_TOKEN or --token-file";
  return sameSecret(token, told) ? null : "the token is not the right one";
}

/** Compares in a time that does not depend on where two texts differ, nor on how long they are. */
export function sameSecret(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** Whether the peer of a connection is this machine: by a loopback address, or by an address of ours. */
export function isLocal(local: string, remote: string): boolean {
  return remote === local || /^(::ffff:)?127\./i.test(remote) || remote === "::1";
}
