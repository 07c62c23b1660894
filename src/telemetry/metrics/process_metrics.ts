/** Metrics of the process itself: its memory, its CPU time, and how late its event loop is. */
import { type Clock, every, MS, SECOND } from "../../core/clock.ts";
import { PAUSE_CAUSES, type PauseWatch } from "../pauses.ts";
import { counter, gauge, Histogram, histogram, type Metric, only } from "./metric.ts";

/** What the operating system tells of the process. */
export interface ProcessFacts {
  readonly residentBytes: number;
  readonly heapBytes: number;
  readonly cpuSeconds: number;
  /** Since 1970. */
  readonly startSeconds: number;
}

const PROBE_NS = 50 * MS;
/** In seconds: a timer is late by up to a quarter of a millisecond on an idle machine. */
const DELAY_BOUNDS = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];

/**
 * @param clock whose calls tell how late the event loop is.
 * @param role of the node, e.g. "worker".
 * @param pauses those of the event loop.
 */
export function processMetrics(
  clock: Clock,
  version: string,
  role: string,
  facts: () => ProcessFacts,
  pauses: Pick<PauseWatch, "total">,
): Metric[] {
  const delay = new Histogram(DELAY_BOUNDS);
  let dueNs = clock.now() + PROBE_NS;
  every(clock, PROBE_NS, () => {
    const nowNs = clock.now();
    delay.observe(Math.max(0, nowNs - dueNs) / SECOND);
    dueNs = Math.max(dueNs + PROBE_NS, nowNs);
  });
  return [
    gauge(
      "clockwork_info",
      "Always 1, with the version of Clockwork and the node's role",
      ["version", "role"],
      () => [[[version, role], 1]],
    ),
    histogram(
      "clockwork_event_loop_delay_seconds",
      "Delay of the event loop, measured every 50 ms",
      [],
      () => only(delay),
    ),
    counter(
      "clockwork_event_loop_pauses_total",
      "Times the event loop was blocked for more than 5 ms, by cause: collector, work or machine",
      ["cause"],
      () => PAUSE_CAUSES.map((cause) => [[cause], pauses.total[cause]] as const),
    ),
    gauge(
      "process_resident_memory_bytes",
      "Memory of the process",
      [],
      () => only(facts().residentBytes),
    ),
    gauge(
      "clockwork_heap_bytes",
      "Memory used by JavaScript objects",
      [],
      () => only(facts().heapBytes),
    ),
    counter(
      "process_cpu_seconds_total",
      "CPU time of the process, all threads together",
      [],
      () => only(facts().cpuSeconds),
    ),
    gauge(
      "process_start_time_seconds",
      "When the process started, in seconds since 1970",
      [],
      () => only(facts().startSeconds),
    ),
  ];
}
