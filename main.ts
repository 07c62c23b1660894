/** Entry point of the `clockwork` program. */
import { run } from "./src/cli/program.ts";

if (import.meta.main) {
  const code = await run(Deno.args);
  // A server goes on after its command has returned; a failure ends whatever was started.
  if (code === 0) Deno.exitCode = 0;
  else Deno.exit(code);
}
