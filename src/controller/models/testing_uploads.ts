/** For tests of uploads: workers that keep them, and a client that sends one. */
import { createHash } from "node:crypto";
import { MS, SECOND } from "../../core/clock.ts";
import { ActionStatus } from "../../core/status.ts";
import type { Client } from "../../client/client.ts";
import type { Model } from "../../client/model.ts";
import type { Result } from "../../client/result.ts";
import {
  UPLOAD_CHUNK_BYTES,
  UPLOAD_WINDOW,
  type UploadFile,
  uploadPath,
} from "../../wire/upload.ts";
import { MemoryUploadStore } from "../../worker/uploads/memory_store.ts";
import { makeModel } from "../../worker/test_rig.ts";
import type { MemoryRegistryFile } from "./memory_registry.ts";
import {
  Cluster,
  outcome,
  status,
  type TestWorker,
  value,
  type WorkerOptions,
} from "../test_rig.ts";

export const CONTENTS = Uint8Array.from({ length: 20 * UPLOAD_CHUNK_BYTES + 5 }, (_, i) => i % 251);
export const FILE: UploadFile = {
  name: "model.onnx",
  size: CONTENTS.length,
  sha256: createHash("sha256").update(CONTENTS).digest("hex"),
};
export const PATH = uploadPath("net", [FILE]);

export interface Storing extends TestWorker {
  readonly store: MemoryUploadStore;
}

/** A worker that can load what it has been sent, and no other path but `PAGES/NAME`. */
export function addStoring(cluster: Cluster, options: WorkerOptions = {}): Storing {
  const store = new MemoryUploadStore();
  const worker = cluster.addWorker({
    store,
    readModel: (path, gpus) =>
      store.filesOf(path) !== null || /^\d+\//.test(path)
        ? makeModel(/^\d/.test(path) ? path : `2/${path}`, gpus)
        : { status: ActionStatus.invalidModelPath, message: `no model at ${path}` },
    ...options,
  });
  return { ...worker, store };
}

/** Sends a file as the client library does; resolves to what it comes to, and the time that it took. */
export function send(cluster: Cluster, client: Client, workers: readonly string[] = []) {
  const upload = {
    result: null as Result<unknown> | null,
    id: -1,
    underWay: 0,
    /** The most pieces that the client had under way. */
    most: 0,
    tookNs: NaN,
  };
  const beginNs = cluster.clock.now();
  const fail = (result: Result<unknown>) => {
    upload.result ??= result;
    upload.tookNs = cluster.clock.now() - beginNs;
  };
  client.beginUpload("net", [FILE], workers, (begun) => {
    if (!begun.ok || begun.value.complete) return fail(begun);
    upload.id = begun.value.id;
    let offset = 0;
    const next = (): void => {
      if (upload.result !== null) return;
      if (offset === FILE.size) {
        if (upload.underWay === 0) client.endUpload(upload.id, true, fail);
        return;
      }
      const bytes = CONTENTS.slice(offset, offset + UPLOAD_CHUNK_BYTES);
      upload.underWay++;
      upload.most = Math.max(upload.most, upload.underWay);
      client.uploadChunk(upload.id, 0, offset, bytes, (written) => {
        upload.underWay--;
        if (!written.ok) return fail(written);
        next();
      });
      offset += bytes.length;
    };
    for (let i = 0; i < UPLOAD_WINDOW; i++) next();
  });
  return upload;
}

export function serving(workers = 2, options: WorkerOptions = {}, registry?: MemoryRegistryFile) {
  const cluster = new Cluster({}, undefined, registry ?? null);
  const storing = Array.from({ length: workers }, () => addStoring(cluster, options));
  const { client, link } = cluster.addClient();
  const [model] = cluster.serve(client, "2/a");
  return { cluster, workers: storing, client, link, model: model! };
}

export function has({ store }: Storing): boolean {
  const contents = store.kept.get(PATH)?.contents.get("model.onnx");
  return contents !== undefined && Buffer.compare(contents, CONTENTS) === 0;
}

export function loadUploaded(cluster: Cluster, client: Client): Model {
  const loaded = outcome<readonly Model[]>((done) => client.loadModel(PATH, 1, done));
  cluster.run(100 * MS);
  return value(loaded)[0]!;
}

export function infer(cluster: Cluster, client: Client, model: Model): number {
  const asked = cluster.infer(client, model, { deadlineNs: SECOND });
  cluster.run();
  return status(asked);
}
