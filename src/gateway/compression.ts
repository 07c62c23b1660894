/** Compresses answers for clients that accept it. */
import type { MiddlewareHandler } from "hono";
import type { GatewayEnv } from "./guards.ts";

/** Smaller bodies are sent as they are: compressing them takes longer than sending them. */
const MIN_BYTES = 1024;

export const compressResponses: MiddlewareHandler<GatewayEnv> = async (c, next) => {
  await next();
  const { res } = c;
  const encoding = wantedEncoding(c.req.header("accept-encoding") ?? "");
  const length = Number(res.headers.get("content-length"));
  if (encoding === null || res.body === null || !(length >= MIN_BYTES)) return;
  c.res = new Response(res.body.pipeThrough(new CompressionStream(encoding)), res);
  // Only now: a response that takes another's place gets all headers of that one from Hono.
  const { headers } = c.res;
  headers.delete("content-length");
  headers.set("content-encoding", encoding);
  headers.append("vary", "accept-encoding");
};

function wantedEncoding(accepted: string): "gzip" | "deflate" | null {
  for (const encoding of ["gzip", "deflate"] as const) {
    const found = accepted.toLowerCase().split(",").map((part) => part.trim())
      .find((part) => part.split(";")[0]!.trim() === encoding);
    if (found !== undefined && !/;\s*q=0(\.0*)?$/.test(found)) return encoding;
  }
  return null;
}
