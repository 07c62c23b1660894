/** The client library: what another program needs to use a Clockwork controller. */
export { MS, SECOND, US } from "../core/clock.ts";
export { RequestStatus } from "../core/status.ts";
export { SystemClock } from "../core/system_clock.ts";
export { type Address, parseAddress } from "../wire/tcp.ts";
export { Client, type ClientOptions, type InferOptions, type Model, NO_INPUT } from "./client.ts";
export { connectClient } from "./connect.ts";
export { ClockworkClient } from "./promises.ts";
export {
  describeStatus,
  type Done,
  type Failure,
  RequestError,
  type Result,
  type Success,
} from "./result.ts";
