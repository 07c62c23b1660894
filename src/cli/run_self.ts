import { fileURLToPath } from "node:url";

/**
 * Arguments for Deno's executable to run this program in a new process, before the program's own arguments.
 * The permissions are those of deno.json's task `clockwork`.
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
