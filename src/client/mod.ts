/**
 * The client library: what another program needs to use a Clockwork controller. See
 * docs/client-library.md.
 *
 * @example
 * ```ts
 * import { connect, MS } from "clockwork/client";
 *
 * const clockwork = await connect("127.0.0.1:12346");
 * const [model] = await clockwork.loadModel("resnet50_v2");
 * await clockwork.ready();
 * const input = new Float32Array(model.inputBytes / 4);
 * const output = await clockwork.infer(model, new Uint8Array(input.buffer), { deadlineNs: 100 * MS });
 * await clockwork.close();
 * ```
 */
import { payloads } from "../wire/payload_pool.ts";

export { type Clock, MS, SECOND, type Timer, US } from "../core/clock.ts";
export { RequestStatus } from "../core/status.ts";
export { SystemClock } from "../core/system_clock.ts";
export type { ClusterState } from "../wire/cluster_state.ts";
export { type Address, parseAddress } from "../wire/tcp.ts";
export type { TlsIdentity } from "../wire/tls.ts";
export type { Catalogue, ModelDescription, TensorDescription } from "./catalogue.ts";
export { Client, type ClientOptions } from "./client.ts";
export { type InferOptions, type Model, NO_INPUT } from "./model.ts";
export {
  connect,
  connectClient,
  type ConnectOptions,
  CONTROLLER_PORT,
  DEFAULT_RECONNECT_NS,
} from "./connect.ts";
export { ClockworkClient } from "./promises.ts";
export type {
  StoredUpload,
  Uploaded,
  UploadOptions,
  UploadRemoved,
  UploadSource,
} from "./upload.ts";
export { modelFiles, UploadFileError } from "./upload_files.ts";
export {
  describeStatus,
  type Done,
  type Failure,
  RequestError,
  type Result,
  type Success,
  UNDECIDED,
} from "./result.ts";

/**
 * Gives the memory of an output back for later ones. Optional: without it the output is garbage
 * collected. Nothing may read the output afterwards, nor any view of its memory.
 */
export function releaseOutput(output: Uint8Array): void {
  payloads.release(output);
}
