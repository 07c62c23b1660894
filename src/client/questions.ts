/** A client's requests about the cluster rather than for inference, as messages of the protocol. */
import type { ClusterState } from "../wire/cluster_state.ts";
import type { Header } from "../wire/messages.ts";
import type { UploadFile } from "../wire/upload.ts";
import type { Load } from "./model_book.ts";
import type { Model } from "./model.ts";
import type { StoredUpload } from "./upload.ts";

export function loading(userId: number, { key, path, copies, workers }: Load) {
  return {
    kind: "LoadModelRequest",
    header: () => ({ user_id: userId, model_path: path, no_of_copies: copies, workers, key }),
    expects: "LoadModelResponse",
  } as const;
}

export function listing(userId: number) {
  return {
    kind: "LsRequest",
    header: () => ({ user_id: userId }),
    expects: "LsResponse",
  } as const;
}

export function describing(userId: number, modelId: number, revision: () => number) {
  return {
    kind: "DescribeModelsRequest",
    header: () => ({ user_id: userId, model_id: modelId, revision: revision() }),
    expects: "DescribeModelsResponse",
    read: (answer: Header<"DescribeModelsResponse">) => answer,
    brief: true,
  } as const;
}

export function watching(cursor: number) {
  return {
    kind: "ClusterStateRequest",
    header: () => ({ cursor }),
    expects: "ClusterStateResponse",
    read: (state: ClusterState) => state,
    brief: true,
  } as const;
}

export function evicting(userId: number, model: Model) {
  return {
    kind: "EvictRequest",
    header: () => ({ user_id: userId, model_id: model.id }),
    expects: "EvictResponse",
    read: () => undefined,
    model,
  } as const;
}

export function unloading(userId: number, modelId: () => number, copies: number, key: string) {
  return {
    kind: "UnloadModelRequest",
    header: () => ({ user_id: userId, model_id: modelId(), no_of_copies: copies, key }),
    expects: "UnloadModelResponse",
    read: () => undefined,
  } as const;
}

/** Uploads end with the connection: another has to be begun. */
export function beginningUpload(
  userId: number,
  name: string,
  files: readonly UploadFile[],
  workers: readonly string[],
) {
  return {
    kind: "BeginUploadRequest",
    header: () => ({ user_id: userId, model_name: name, files, workers }),
    expects: "BeginUploadResponse",
    read: ({ upload_id, model_path, complete }: Header<"BeginUploadResponse">) => ({
      id: upload_id,
      path: model_path,
      complete: complete === 1,
    }),
    brief: true,
  } as const;
}

export function uploading(uploadId: number, file: number, offset: number, bytes: Uint8Array) {
  return {
    kind: "UploadChunkRequest",
    header: () => ({ upload_id: uploadId, file, offset }),
    payload: [bytes],
    expects: "UploadChunkResponse",
    read: () => undefined,
    brief: true,
  } as const;
}

export function endingUpload(uploadId: number, keep: boolean) {
  return {
    kind: "EndUploadRequest",
    header: () => ({ upload_id: uploadId, keep: keep ? 1 : 0 }),
    expects: "EndUploadResponse",
    read: ({ no_of_workers, message }: Header<"EndUploadResponse">) => ({
      workers: no_of_workers,
      problems: message,
    }),
    brief: true,
  } as const;
}

export function listingUploads(userId: number) {
  return {
    kind: "ListUploadsRequest",
    header: () => ({ user_id: userId }),
    expects: "ListUploadsResponse",
    read: ({ uploads }: Header<"ListUploadsResponse">): readonly StoredUpload[] =>
      uploads.map(({ model_path, size, no_of_workers, no_of_copies }) => ({
        path: model_path,
        bytes: size,
        workers: no_of_workers,
        copies: no_of_copies,
      })),
    brief: true,
  } as const;
}

export function removingUpload(userId: number, path: string) {
  return {
    kind: "RemoveUploadRequest",
    header: () => ({ user_id: userId, model_path: path }),
    expects: "RemoveUploadResponse",
    read: ({ no_of_workers, message }: Header<"RemoveUploadResponse">) => ({
      workers: no_of_workers,
      problems: message,
    }),
    brief: true,
  } as const;
}
