/**
 * The worker as its controllers see it. It serves any number of them at once, each with its own results;
 * models and weights survive all of them.
 */
import { type Clock, every, SECOND, type Timer } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { PeerTraffic } from "../telemetry/metrics/network_metrics.ts";
import type { WorkerStateView } from "../telemetry/metrics/worker_metrics.ts";
import type { WorkerTelemetry } from "../telemetry/worker_records.ts";
import type { Link, LinkHandler } from "../wire/link.ts";
import { TrafficTotals } from "../wire/traffic_totals.ts";
import { Activity, ErrorDigest } from "./activity.ts";
import type { Backend } from "./backend.ts";
import type { WorkerConfig } from "./config.ts";
import { Session, type SessionContext } from "./session.ts";
import type { Uploads } from "./uploads/uploads.ts";
import { WorkerNode } from "./worker_node.ts";

export interface WorkerServerOptions {
  readonly clock: Clock;
  /** Closed with the server. */
  readonly backend: Backend;
  readonly config: WorkerConfig;
  /** Takes the lines for people. */
  readonly log: Log;
  /** Takes a record of each action, or task of one; absent when there is no use for them. */
  readonly telemetry?: WorkerTelemetry | undefined;
  /** Takes uploads; null or absent where none are taken. */
  readonly uploads?: Uploads | null | undefined;
}

/** Time between two lines of counts. */
const REPORT_PERIOD_NS = 10 * SECOND;
/** Different errors that are printed in one such period. */
const ERRORS_PRINTED = 5;

export class WorkerServer {
  readonly node: WorkerNode;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #activity = new Activity();
  readonly #errors = new ErrorDigest(ERRORS_PRINTED);
  readonly #context: SessionContext;
  /** In the order in which they came. */
  readonly #sessions = new Set<Session>();
  readonly #traffic = new TrafficTotals();
  #sessionsEver = 0;
  #report: Timer | null = null;
  #closed = false;

  constructor({ clock, backend, config, log, telemetry, uploads }: WorkerServerOptions) {
    this.#clock = clock;
    this.#log = log;
    const onNote = (note: string) => log(`Note: ${note}`);
    this.node = new WorkerNode({ clock, backend, config, onNote, uploads });
    this.#context = {
      clock,
      node: this.node,
      log,
      activity: this.#activity,
      errors: this.#errors,
      telemetry: telemetry ?? null,
      onClosed: (session, reason) => this.#forget(session, reason),
    };
  }

  /** Serves a controller; to be handed to what makes links. */
  readonly accept = (link: Link): LinkHandler => {
    const session = new Session(link, this.#sessionsEver++, this.#context);
    this.#sessions.add(session);
    if (this.#closed) link.close("the worker is shutting down");
    else this.#report ??= every(this.#clock, REPORT_PERIOD_NS, () => this.#printReport());
    return session;
  };

  /** Controllers that are connected. */
  get controllers(): number {
    return this.#sessions.size;
  }

  /** Actions that have arrived and not ended. */
  get pending(): number {
    return this.#activity.pending;
  }

  /** What it has at the moment. */
  view(): WorkerStateView {
    return {
      models: this.node.registry.size,
      pending: this.pending,
      gpus: this.node.gpus.map((gpu) => ({
        name: gpu.info.name,
        lost: gpu.lost !== null,
        pages: gpu.cache.totalPages,
        usedPages: gpu.cache.usedPages,
        loadedModels: gpu.loadedModelIds().length,
        queuedInfers: gpu.execution.queued,
        queuedTransfers: gpu.transfers.queued,
      })),
      controllers: Array.from(this.#sessions, ({ number, link: { sync } }) => ({
        id: number,
        clockOffsetNs: sync.offsetNs,
        roundTripNs: sync.rttNs,
      })),
    };
  }

  /** Connections with controllers. */
  peers(): PeerTraffic[] {
    const open = Array.from(this.#sessions, ({ link }) => link.traffic);
    return [{ role: "controller", connections: open.length, ...this.#traffic.with(open) }];
  }

  /** Refuses every further action with status 3; those that it has go on: see {@link pending}. */
  drain(): void {
    this.node.drain();
  }

  /** Fails what has not ended with status 3, lets the controllers know, and closes the backend. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#report?.cancel();
    this.node.close();
    for (const { link } of this.#sessions) link.close("the worker is shutting down");
  }

  #forget(session: Session, reason: string): void {
    this.#sessions.delete(session);
    this.#traffic.ended(session.link.traffic);
    if (this.#closed) return;
    this.#log(`Controller ${session.link.peer} is gone: ${reason}`);
    if (this.#sessions.size > 0) return;
    this.#report?.cancel();
    this.#report = null;
  }

  /** With several controllers, the network is the one to the controller that came last. */
  #printReport(): void {
    let latest: Session | undefined;
    for (const session of this.#sessions) latest = session;
    if (latest === undefined) return;
    this.#log(this.#activity.takeLine(latest.link.sync));
    this.#errors.nextPeriod();
  }
}
