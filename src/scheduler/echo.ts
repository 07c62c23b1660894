import { RequestStatus } from "../core/status.ts";
import type {
  GpuSpec,
  InferAction,
  ModelSpec,
  Request,
  Scheduler,
  SchedulerHost,
} from "./scheduler.ts";

/** No GPU: requests are answered where they arrive. */
const NOWHERE: GpuSpec = { workerId: 0, gpuId: 0, pages: 0 };

/**
 * ECHO answers each request at once, without a worker, with an output of zeros. It shows what clients,
 * network and controller can do.
 */
export class Echo<R extends Request> implements Scheduler<R> {
  readonly #host: SchedulerHost<R>;
  readonly #models = new Set<number>();
  #closed: { status: Exclude<RequestStatus, 0>; message: string } | null = null;

  constructor(host: SchedulerHost<R>) {
    this.#host = host;
  }

  addGpu(): void {}
  removeGpu(): void {}
  onOutcome(): void {}

  setModel(modelId: number, _specs: ReadonlyMap<number, ModelSpec>): void {
    this.#models.add(modelId);
  }

  removeModel(modelId: number): void {
    this.#models.delete(modelId);
  }

  submit(request: R): void {
    if (this.#closed !== null) {
      return this.#host.refuse(request, this.#closed.status, this.#closed.message);
    }
    if (!this.#models.has(request.modelId)) {
      return this.#host.refuse(
        request,
        RequestStatus.invalidRequest,
        `unknown model ${request.modelId}: load it first, or list the models with LS`,
      );
    }
    const { arrivalNs } = request;
    const action: InferAction<R> = {
      type: "Infer",
      gpu: NOWHERE,
      modelId: request.modelId,
      batchSize: 1,
      requests: [request],
      earliestNs: arrivalNs,
      latestNs: arrivalNs,
      expectedNs: 0,
      expectedEndNs: arrivalNs,
      queued: 0,
      copiesLoaded: 0,
    };
    this.#host.succeed(action);
  }

  close(status: Exclude<RequestStatus, 0>, message: string): void {
    this.#closed = { status, message };
  }
}
