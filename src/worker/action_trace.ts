/** Records telemetry of one controller's actions; the parameters of each are kept until it ends. */
import type { Clock } from "../core/clock.ts";
import { ActionStatus } from "../core/status.ts";
import type { WorkerTaskRecord, WorkerTelemetry } from "../telemetry/worker_records.ts";
import type { ClockSync } from "../wire/clock_sync.ts";
import { ACTION_KINDS, type ActionKind, type MessageOf } from "../wire/describe.ts";
import type { ActionRef, ResultOf } from "./action.ts";

interface Asked {
  readonly gpuId: number | null;
  readonly modelId: number | null;
  readonly batchSize: number;
  readonly window: { readonly earliestNs: number; readonly latestNs: number } | null;
}

interface Timing {
  readonly begin_ns: number;
  readonly end_ns: number;
}

const NOTHING: Asked = { gpuId: null, modelId: null, batchSize: 0, window: null };

export class ActionTrace {
  readonly #clock: Clock;
  readonly #telemetry: WorkerTelemetry;
  readonly #controllerId: number;
  readonly #sync: ClockSync;
  readonly #asked = new Map<number, Asked>();

  /** @param sync translates windows, which are in the controller's clock, to ours. */
  constructor(clock: Clock, telemetry: WorkerTelemetry, controllerId: number, sync: ClockSync) {
    this.#clock = clock;
    this.#telemetry = telemetry;
    this.#controllerId = controllerId;
    this.#sync = sync;
  }

  /** Every action that is received must end by one of the others. */
  received({ id, header }: MessageOf<ActionKind>): void {
    this.#asked.set(id, {
      gpuId: "gpu_id" in header ? header.gpu_id : null,
      modelId: "model_id" in header ? header.model_id : null,
      batchSize: "batch_size" in header ? header.batch_size : 0,
      window: "latest_ns" in header
        ? {
          earliestNs: this.#sync.toLocal(header.earliest_ns),
          latestNs: this.#sync.toLocal(header.latest_ns),
        }
        : null,
    });
  }

  succeeded<K extends ActionKind>(action: ActionRef<K>, result: ResultOf<K>): void {
    const asked = this.#ended(action, ActionStatus.success);
    const task = (name: WorkerTaskRecord["task"], { begin_ns, end_ns }: Timing) =>
      this.#telemetry.onTask?.({
        controllerId: this.#controllerId,
        actionId: action.id,
        task: name,
        gpuId: asked.gpuId,
        modelId: asked.modelId,
        batchSize: asked.batchSize,
        beginNs: begin_ns,
        endNs: end_ns,
      });
    // The kind of an action tells the type of its result, but not to the compiler.
    const infer = result as unknown as ResultOf<"Infer">;
    const timing = result as unknown as Timing;
    switch (action.kind) {
      case "Infer":
        task("copy_input", infer.copy_input);
        task("exec", infer.exec);
        task("copy_output", infer.copy_output);
        break;
      case "LoadModelFromDisk":
        task("load_model", timing);
        break;
      case "LoadWeights":
        task("load_weights", timing);
        break;
      case "EvictWeights":
        task("evict_weights", timing);
    }
  }

  failed(action: ActionRef, status: number): void {
    this.#ended(action, status);
  }

  #ended({ id, kind, receivedNs }: ActionRef, status: number): Asked {
    // A controller that uses an id twice at a time gets what was asked first told once only.
    const asked = this.#asked.get(id) ?? NOTHING;
    this.#asked.delete(id);
    this.#telemetry.onAction?.({
      controllerId: this.#controllerId,
      actionId: id,
      type: ACTION_KINDS.indexOf(kind),
      status,
      ...asked,
      receivedNs,
      endedNs: this.#clock.now(),
    });
    return asked;
  }
}
