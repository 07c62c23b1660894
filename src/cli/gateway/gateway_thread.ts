/// <reference lib="deno.worker" />
/** The thread of `controller --http`: a gateway, told what to do by messages of {@link ToThread}. */
import { SystemClock } from "../../core/system_clock.ts";
import { CliError } from "../exit.ts";
import { type GatewayServer, serveGateway } from "./server.ts";
import { openTracing } from "../tracing.ts";
import type { FromThread, ToThread } from "./http_thread.ts";

const clock = new SystemClock();
let server: GatewayServer | null = null;

function tell(message: FromThread): void {
  self.postMessage(message);
}

self.onmessage = async ({ data }: MessageEvent<ToThread>) => {
  switch (data.type) {
    case "start":
      try {
        server = serveGateway(
          clock,
          (line) => tell({ type: "log", line }),
          data.config,
          await openTracing(),
        );
        tell({ type: "serving", address: server.address });
      } catch (error) {
        if (!(error instanceof CliError)) throw error;
        tell({ type: "failed", message: error.message });
      }
      break;
    case "close":
      await server?.close();
      clock.close();
      tell({ type: "closed" });
  }
};
