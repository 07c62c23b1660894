import { fileURLToPath } from "node:url";

/**
 * What Deno's executable is called with to run this program as a process of its own, before the
 * program's arguments. The permissions are those of deno.json's task `clockwork`.
 */
export const RUN_SELF: readonly string[] = [
  "run",
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-env",
  "--allow-sys",
  "--allow-ffi",
  "--unstable-webgpu",
  fileURLToPath(new URL("../../main.ts", import.meta.url)),
];
