import assert from "node:assert/strict";
import { type Kind, KIND_NUMBERS } from "./messages.ts";
import { refuseBeforeHello, refuseKind, type Role } from "./roles.ts";

const roles: readonly Role[] = ["worker", "controller", "client"];
const kinds = Object.keys(KIND_NUMBERS) as Kind[];

/** Who sends a kind to whom, by its name; null: everyone to everyone. */
function between(kind: Kind): string | null {
  if (kind === "Ping" || kind === "Goodbye") return null;
  // Only as the first message, which is no business of roles.
  if (kind === "Hello") return "nobody";
  if (kind.endsWith("Request")) return "client to controller";
  if (kind.endsWith("Response")) return "controller to client";
  return kind.endsWith("Result") ? "worker to controller" : "controller to worker";
}

Deno.test("each kind of message goes from one role to one other", () => {
  for (const kind of kinds) {
    for (const from of roles) {
      for (const to of roles) {
        const expected = between(kind);
        const allowed = expected === null || expected === `${from} to ${to}`;
        const refusal = allowed ? undefined : `${kind} from a ${from}`;
        assert.equal(refuseKind(kind, from, to), refusal, `${kind} from ${from} to ${to}`);
      }
    }
  }
});

Deno.test("before Hello, a peer may only say Hello or why it leaves", () => {
  const allowed = kinds.filter((kind) => refuseBeforeHello(kind) === undefined);
  assert.deepEqual(allowed, ["Hello", "Goodbye"]);
});
