/** Handles clients' requests about models. */
import { RequestStatus } from "../../core/status.ts";
import type { Header } from "../../wire/messages.ts";
import type { ClientSession, ModelRequests, RequestKind } from "../client_session.ts";
import type { Models } from "./models.ts";
import type { Refusal } from "./request_keys.ts";

/** What a client is told that asks too early. */
export const INITIALIZING: Refusal = {
  status: RequestStatus.initializing,
  message: "Controller initializing",
};

/** What the controller is doing. */
export interface ControllerPhase {
  /** It is not known yet what workers have. */
  starting(): boolean;
  serving(): boolean;
  /** Why nothing can be loaded, or unloaded, now; null when it can. */
  refusal(what: "load" | "unload"): Refusal | null;
}

export class ModelRequestHandler implements ModelRequests {
  readonly #models: Models;
  readonly #phase: ControllerPhase;

  constructor(models: Models, phase: ControllerPhase) {
    this.#models = models;
    this.#phase = phase;
  }

  ls(session: ClientSession, id: number): void {
    if (!this.#phase.serving()) return refuse(session, id, "LsRequest", INITIALIZING);
    session.sendModels(
      id,
      Array.from(this.#models.groups.models(), ({ id, path, facts }) => ({
        model_id: id,
        model_path: path,
        input_size: facts.input_size,
        output_size: facts.output_size,
      })),
    );
  }

  evict(session: ClientSession, id: number): void {
    refuse(session, id, "EvictRequest", {
      status: RequestStatus.invalidRequest,
      message: "the scheduler decides what is evicted; models cannot be evicted by request",
    });
  }

  load(session: ClientSession, id: number, header: Header<"LoadModelRequest">): void {
    if (this.#phase.starting()) return refuse(session, id, "LoadModelRequest", INITIALIZING);
    this.#models.load(header, (outcome) => {
      if ("answer" in outcome) session.sendLoaded(id, outcome.answer);
      else refuse(session, id, "LoadModelRequest", outcome);
    });
  }

  unload(session: ClientSession, id: number, header: Header<"UnloadModelRequest">): void {
    if (this.#phase.starting()) return refuse(session, id, "UnloadModelRequest", INITIALIZING);
    this.#models.unload(header, (outcome) => {
      if ("answer" in outcome) session.sendUnloaded(id);
      else refuse(session, id, "UnloadModelRequest", outcome);
    });
  }

  beginUpload(session: ClientSession, id: number, header: Header<"BeginUploadRequest">): void {
    const fail = (refusal: Refusal) => refuse(session, id, "BeginUploadRequest", refusal);
    const refusal = this.#phase.starting() ? INITIALIZING : this.#phase.refusal("load");
    if (refusal !== null) return fail(refusal);
    this.#models.beginUpload(session, header, (outcome) => {
      if ("answer" in outcome) session.sendUploadBegun(id, outcome.answer);
      else fail(outcome);
    });
  }

  uploadChunk(
    session: ClientSession,
    id: number,
    header: Header<"UploadChunkRequest">,
    bytes: Uint8Array,
  ): void {
    this.#models.uploads.chunk(session, header, bytes, (outcome) => {
      if ("answer" in outcome) session.sendChunkStored(id);
      else refuse(session, id, "UploadChunkRequest", outcome);
    });
  }

  endUpload(session: ClientSession, id: number, header: Header<"EndUploadRequest">): void {
    this.#models.uploads.end(session, header, (outcome) => {
      if ("answer" in outcome) session.sendUploadEnded(id, outcome.answer);
      else refuse(session, id, "EndUploadRequest", outcome);
    });
  }

  listUploads(session: ClientSession, id: number): void {
    if (this.#phase.starting()) return refuse(session, id, "ListUploadsRequest", INITIALIZING);
    this.#models.listUploads((uploads) => session.sendUploads(id, uploads));
  }

  removeUpload(session: ClientSession, id: number, header: Header<"RemoveUploadRequest">): void {
    if (this.#phase.starting()) return refuse(session, id, "RemoveUploadRequest", INITIALIZING);
    this.#models.removeUpload(header.model_path, (outcome) => {
      if ("answer" in outcome) session.sendUploadRemoved(id, outcome.answer);
      else refuse(session, id, "RemoveUploadRequest", outcome);
    });
  }

  /** The client is gone: what it was sending is forgotten. */
  left(session: ClientSession): void {
    this.#models.uploads.left(session);
  }
}

function refuse(
  session: ClientSession,
  id: number,
  kind: RequestKind,
  { status, message }: Refusal,
): void {
  session.sendError(id, kind, status, message);
}
