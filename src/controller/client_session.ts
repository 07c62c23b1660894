import type { RequestStatus } from "../core/status.ts";
import type { Log } from "../core/log.ts";
import { describeFiles } from "../wire/describe.ts";
import type { Link, LinkHandler, Traffic } from "../wire/link.ts";
import { type AnyMessage, type Header, type Kind, KIND_NUMBERS } from "../wire/messages.ts";

/** The requests of a client. Each is answered once, through the session. */
export interface ClientRequests {
  infer(
    session: ClientSession,
    id: number,
    header: Header<"InferRequest">,
    input: Uint8Array,
  ): void;
  describeModels(
    session: ClientSession,
    id: number,
    header: Header<"DescribeModelsRequest">,
  ): void;
  clusterState(session: ClientSession, id: number, header: Header<"ClusterStateRequest">): void;
  /** The client has disconnected; its requests may continue, but their answers are dropped. */
  left(session: ClientSession): void;
}

/** The requests about models, likewise. */
export interface ModelRequests {
  ls(session: ClientSession, id: number): void;
  evict(session: ClientSession, id: number): void;
  load(session: ClientSession, id: number, header: Header<"LoadModelRequest">): void;
  unload(session: ClientSession, id: number, header: Header<"UnloadModelRequest">): void;
  beginUpload(session: ClientSession, id: number, header: Header<"BeginUploadRequest">): void;
  uploadChunk(
    session: ClientSession,
    id: number,
    header: Header<"UploadChunkRequest">,
    bytes: Uint8Array,
  ): void;
  endUpload(session: ClientSession, id: number, header: Header<"EndUploadRequest">): void;
  listUploads(session: ClientSession, id: number): void;
  removeUpload(session: ClientSession, id: number, header: Header<"RemoveUploadRequest">): void;
}

export type RequestKind =
  | "InferRequest"
  | "EvictRequest"
  | "LsRequest"
  | "LoadModelRequest"
  | "UnloadModelRequest"
  | "BeginUploadRequest"
  | "UploadChunkRequest"
  | "EndUploadRequest"
  | "ListUploadsRequest"
  | "RemoveUploadRequest";

/** Longest message on the wire, in characters. */
const MAX_MESSAGE_LENGTH = 4096;

/** The controller's end of a link to a client. */
export class ClientSession implements LinkHandler {
  readonly #link: Link;
  readonly #requests: ClientRequests;
  readonly #models: ModelRequests;
  readonly #log: Log;

  constructor(link: Link, requests: ClientRequests, models: ModelRequests, log: Log) {
    this.#link = link;
    this.#requests = requests;
    this.#models = models;
    this.#log = log;
  }

  get traffic(): Readonly<Traffic> {
    return this.#link.traffic;
  }

  onMessage(message: AnyMessage): void {
    const { id } = message;
    switch (message.kind) {
      case "InferRequest":
        return this.#requests.infer(this, id, message.header, message.payload);
      case "LoadModelRequest":
        this.#log(`Client  --> Req${id}:LoadModel path=${message.header.model_path}`);
        return this.#models.load(this, id, message.header);
      case "LsRequest":
        this.#log(`Client  --> Req${id}:LS`);
        return this.#models.ls(this, id);
      case "EvictRequest":
        this.#log(`Client  --> Req${id}:Evict model_id=${message.header.model_id}`);
        return this.#models.evict(this, id);
      case "UnloadModelRequest": {
        const { model_id, no_of_copies } = message.header;
        this.#log(`Client  --> Req${id}:UnloadModel model_id=${model_id} copies=${no_of_copies}`);
        return this.#models.unload(this, id, message.header);
      }
      case "DescribeModelsRequest":
        // These are frequent: a line for each would drown all others.
        return this.#requests.describeModels(this, id, message.header);
      case "ClusterStateRequest":
        return this.#requests.clusterState(this, id, message.header);
      case "BeginUploadRequest": {
        const { model_name, files } = message.header;
        this.#log(`Client  --> Req${id}:BeginUpload ${model_name} ${describeFiles(files)}`);
        return this.#models.beginUpload(this, id, message.header);
      }
      case "UploadChunkRequest":
        return this.#models.uploadChunk(this, id, message.header, message.payload);
      case "EndUploadRequest":
        this.#log(`Client  --> Req${id}:EndUpload upload=${message.header.upload_id}`);
        return this.#models.endUpload(this, id, message.header);
      case "ListUploadsRequest":
        this.#log(`Client  --> Req${id}:ListUploads`);
        return this.#models.listUploads(this, id);
      case "RemoveUploadRequest":
        this.#log(`Client  --> Req${id}:RemoveUpload ${message.header.model_path}`);
        return this.#models.removeUpload(this, id, message.header);
      default:
        this.#link.close(`a client may not send ${message.kind}`);
    }
  }

  onClose(reason: string): void {
    this.#log(`Client ${this.#link.peer} left: ${reason}`);
    this.#requests.left(this);
  }

  sendOutput(id: number, output: Uint8Array): void {
    this.#link.send("InferResponse", id, { output_size: output.length }, [output]);
  }

  sendLoaded(id: number, header: Header<"LoadModelResponse">): void {
    const last = header.model_id + header.copies_created - 1;
    this.#log(
      `Client <--  Rsp${id}:LoadModel model_id=[${header.model_id}->${last}] ` +
        `input=${header.input_size} output=${header.output_size}`,
    );
    this.#link.send("LoadModelResponse", id, header);
  }

  sendModels(id: number, models: Header<"LsResponse">["models"]): void {
    this.#log(`Client <--  Rsp${id}:LS ${models.length} models`);
    this.#link.send("LsResponse", id, { models });
  }

  sendDescriptions(id: number, header: Header<"DescribeModelsResponse">): void {
    this.#link.send("DescribeModelsResponse", id, header);
  }

  sendState(id: number, header: Header<"ClusterStateResponse">): void {
    this.#link.send("ClusterStateResponse", id, header);
  }

  sendEvicted(id: number): void {
    this.#log(`Client <--  Rsp${id}:Evict`);
    this.#link.send("EvictResponse", id, {});
  }

  sendUnloaded(id: number): void {
    this.#log(`Client <--  Rsp${id}:UnloadModel`);
    this.#link.send("UnloadModelResponse", id, {});
  }

  sendUploadBegun(id: number, header: Header<"BeginUploadResponse">): void {
    const already = header.complete === 1 ? " is there already" : "";
    this.#log(`Client <--  Rsp${id}:BeginUpload ${header.model_path}${already}`);
    this.#link.send("BeginUploadResponse", id, header);
  }

  sendChunkStored(id: number): void {
    this.#link.send("UploadChunkResponse", id, {});
  }

  sendUploadEnded(id: number, header: Header<"EndUploadResponse">): void {
    const { model_path, no_of_workers } = header;
    this.#log(`Client <--  Rsp${id}:EndUpload ${model_path} on ${no_of_workers} workers`);
    this.#link.send("EndUploadResponse", id, {
      ...header,
      message: header.message.slice(0, MAX_MESSAGE_LENGTH),
    });
  }

  sendUploads(id: number, uploads: Header<"ListUploadsResponse">["uploads"]): void {
    this.#log(`Client <--  Rsp${id}:ListUploads ${uploads.length} uploads`);
    this.#link.send("ListUploadsResponse", id, { uploads });
  }

  sendUploadRemoved(id: number, { no_of_workers, message }: Header<"RemoveUploadResponse">): void {
    this.#log(`Client <--  Rsp${id}:RemoveUpload from ${no_of_workers} workers`);
    this.#link.send("RemoveUploadResponse", id, {
      no_of_workers,
      message: message.slice(0, MAX_MESSAGE_LENGTH),
    });
  }

  sendError(
    id: number,
    kind: RequestKind,
    status: Exclude<RequestStatus, 0>,
    message: string,
  ): void {
    // A line per failed inference would drown all others.
    if (kind !== "InferRequest") {
      this.#log(`Client <--  Rsp${id}:${shortName(kind)} error ${status}: ${message}`);
    }
    const request_type = KIND_NUMBERS[kind] - KIND_NUMBERS.InferRequest;
    this.#link.send("ErrorResponse", id, {
      request_type,
      status,
      message: message.slice(0, MAX_MESSAGE_LENGTH),
    });
  }

  close(reason: string): void {
    this.#link.close(reason);
  }
}

function shortName(kind: Kind): string {
  return kind === "LsRequest" ? "LS" : kind.slice(0, -"Request".length);
}
