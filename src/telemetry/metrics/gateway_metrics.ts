/** A gateway's metrics: what it was asked over HTTP, and what it answered. */
import { SECOND } from "../../core/clock.ts";
import {
  BATCH_BOUNDS,
  counter,
  gauge,
  Histogram,
  histogram,
  LATENCY_BOUNDS,
  Limited,
  type Metric,
  only,
  type Sample,
} from "./metric.ts";

/** Models that have labels of their own; the others are counted together. */
const MAX_MODELS = 200;

/** What a gateway has at the moment. */
export interface GatewayView {
  /** Requests that have not been answered. */
  readonly pending: number;
  /** Whether there is a controller. */
  readonly connected: boolean;
  /** Pages of the dashboard that are open. */
  readonly dashboards: number;
}

/** What came of an inference over HTTP. */
interface Inference {
  readonly model: string;
  readonly httpStatus: number;
  readonly batchSize: number;
  readonly durationNs: number;
}

class ModelCounts {
  /** By HTTP status. */
  readonly answers = new Map<number, number>();
  readonly duration = new Histogram(LATENCY_BOUNDS);
}

export class GatewayMetrics {
  readonly #view: () => GatewayView;
  /** By HTTP status. */
  readonly #answers = new Map<number, number>();
  readonly #duration = new Histogram(LATENCY_BOUNDS);
  readonly #models = new Limited(MAX_MODELS, () => new ModelCounts());
  readonly #batches = new Histogram(BATCH_BOUNDS);

  /** @param view of the gateway at the moment at which it is called. */
  constructor(view: () => GatewayView) {
    this.#view = view;
  }

  /** Any request has been answered. */
  onAnswer(httpStatus: number, durationNs: number): void {
    increase(this.#answers, httpStatus);
    this.#duration.observe(durationNs / SECOND);
  }

  /** A request for an inference has been answered. */
  onInference({ model, httpStatus, batchSize, durationNs }: Inference): void {
    const counts = this.#models.of(model);
    increase(counts.answers, httpStatus);
    counts.duration.observe(durationNs / SECOND);
    this.#batches.observe(batchSize);
  }

  metrics(): Metric[] {
    return [
      counter(
        "clockwork_http_requests_total",
        "Answered requests of all kinds, by HTTP status",
        ["code"],
        () => Array.from(this.#answers, ([code, count]): Sample => [[String(code)], count]),
      ),
      histogram(
        "clockwork_http_request_duration_seconds",
        "Time from a request's headers to the answer's",
        [],
        () => only(this.#duration),
      ),
      gauge(
        "clockwork_http_pending_requests",
        "Requests that have not been answered",
        [],
        () => only(this.#view().pending),
      ),
      counter(
        "clockwork_http_inferences_total",
        "Answered requests for inferences, by model and HTTP status",
        ["model", "code"],
        () =>
          [...this.#models].flatMap(([model, { answers }]) =>
            Array.from(answers, ([code, count]): Sample => [[model, String(code)], count])
          ),
      ),
      histogram(
        "clockwork_http_inference_duration_seconds",
        "Time from the body of such a request to its answer",
        ["model"],
        () => Array.from(this.#models, ([model, { duration }]) => [[model], duration] as const),
      ),
      histogram(
        "clockwork_http_batch_size",
        "Requests to the controller per such request",
        [],
        () => only(this.#batches),
      ),
      gauge(
        "clockwork_http_controller_up",
        "1 while the gateway is connected to its controller, otherwise 0",
        [],
        () => only(this.#view().connected ? 1 : 0),
      ),
      gauge(
        "clockwork_http_dashboards",
        "Open pages of the dashboard",
        [],
        () => only(this.#view().dashboards),
      ),
    ];
  }
}

function increase(counts: Map<number, number>, key: number): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
