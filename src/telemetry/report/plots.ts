/**
 * The data of the page's plots, reduced to what a screen can show, so that its size does not grow with the
 * logs.
 */
import { MS, SECOND, US } from "../../core/clock.ts";
import { type ActionStats, type GpuStats, MAX_TIMELINE_GPUS } from "./action_stats.ts";
import { extent, type LogStats, sortedGpus } from "./report.ts";

/** A distribution: a curve for each series over common x, in ms. */
export interface Distribution {
  readonly x: readonly number[];
  readonly series: readonly {
    readonly name: string;
    readonly count: number;
    /** How many values are at most x. */
    readonly counts: readonly number[];
  }[];
}

/** Numbers per second in bins of equal width. Times are seconds from the beginning of the report. */
export interface Rates {
  readonly beginS: number;
  readonly widthS: number;
  readonly offered: readonly number[];
  readonly good: readonly number[];
  readonly bad: readonly number[];
}

export interface Timeline {
  readonly gpus: readonly string[];
  /** GPUs for which there is no room. */
  readonly omitted: number;
  readonly endS: number;
  /** Percent of each bin in which a GPU was busy; an array for each GPU. */
  readonly beginS: number;
  readonly widthS: number;
  readonly infer: readonly (readonly number[])[];
  readonly load: readonly (readonly number[])[];
  /**
   * Actions that began in windows of `windowS` at each multiple of `periodS` after `originS`. An array
   * for each property; times in microseconds from the beginning.
   */
  readonly originS: number;
  readonly periodS: number;
  readonly windowS: number;
  readonly actions: {
    readonly gpu: readonly number[];
    readonly beginUs: readonly number[];
    readonly durationUs: readonly number[];
    readonly expectedUs: readonly number[];
    readonly id: readonly number[];
    readonly type: readonly number[];
    readonly status: readonly number[];
    readonly model: readonly number[];
    readonly batch: readonly number[];
  };
}

export interface Plots {
  readonly latency: Distribution;
  readonly prediction: Distribution;
  readonly rates: Rates;
  readonly timeline: Timeline;
}

/** Points of a distribution's curves. */
const CURVE_POINTS = 400;
/** Points of the load over time at most: with more, chance would hide what there is to see. */
const RATE_POINTS = 300;
/** Utilization in the page: percentages of all GPUs together. */
const MAX_UTILIZATIONS = 131_072;

export function makePlots(stats: LogStats): Plots {
  const { requests, actions } = stats;
  const latencies = [
    { name: "all results", of: requests.latencyNs },
    { name: "cold starts", of: requests.coldLatencyNs },
  ].filter(({ of }) => of.count > 0);
  const errors = [
    { name: "Infer duration", of: actions.infer.durationNs },
    { name: "Infer completion", of: actions.infer.completionNs },
    { name: "LoadWeights duration", of: actions.load.durationNs },
    { name: "LoadWeights completion", of: actions.load.completionNs },
  ].filter(({ of }) => of.count > 0);
  const latencyNs = grid(
    Math.min(...latencies.map(({ of }) => of.min)),
    Math.max(...latencies.map(({ of }) => of.max)),
  );
  const largest = Math.max(0, ...errors.map(({ of }) => Math.max(of.max, -of.min)));
  // Errors below a microsecond are of no interest, and a logarithm has no 0.
  const errorNs = grid(US, largest);
  return {
    latency: {
      x: latencyNs.map((ns) => round(ns / MS)),
      series: latencies.map(({ name, of }) => ({
        name,
        count: of.count,
        counts: of.countsUpTo(latencyNs),
      })),
    },
    prediction: {
      x: errorNs.map((ns) => round(ns / MS)),
      series: errors.map(({ name, of }) => ({
        name,
        count: of.count,
        counts: of.countsWithin(errorNs),
      })),
    },
    rates: rates(stats),
    timeline: timeline(stats),
  };
}

/** Numbers from about `min` to `max`, each as many times the one before. */
function grid(min: number, max: number): number[] {
  const from = Number.isFinite(min) ? Math.max(1, min) : 1;
  // The last is as it is, so that the curves end at 100 %; they are never a single point.
  const to = Math.max(max, from * 1.1);
  const step = (to / from) ** (1 / (CURVE_POINTS - 1));
  return Array.from(
    { length: CURVE_POINTS },
    (_, i) => i === CURVE_POINTS - 1 ? to : from * step ** i,
  );
}

function rates(stats: LogStats): Rates {
  const { bins, offered, good, bad } = stats.requests;
  bins.coarsen(RATE_POINTS);
  const { beginNs, durationNs } = extent(stats);
  const { widthNs } = bins;
  const perS = (row: number) =>
    Array.from(bins.row(row), (count, i) => {
      // The first and the last bin may be but partly of the time that was logged.
      const from = Math.max(bins.beginNs + i * widthNs, beginNs);
      const to = Math.min(bins.beginNs + (i + 1) * widthNs, beginNs + durationNs);
      return round(count / (Math.max(to - from, widthNs / 4) / SECOND));
    });
  return {
    beginS: bins.length === 0 ? 0 : round((bins.beginNs - beginNs) / SECOND),
    widthS: widthNs / SECOND,
    offered: perS(offered),
    good: perS(good),
    bad: perS(bad),
  };
}

function timeline(stats: LogStats): Timeline {
  const { actions } = stats;
  const { beginNs, durationNs } = extent(stats);
  const gpus = sortedGpus(actions).filter(({ inferRow }) => inferRow !== null);
  const { busy, sample } = actions;
  busy.coarsen(Math.floor(MAX_UTILIZATIONS / 2 / Math.max(1, gpus.length)));
  const numbers = new Map(gpus.map((gpu, i) => [gpu, i]));
  const items = sample.items.toSorted((a, b) => a.beginNs - b.beginNs);
  const us = (ns: number) => Math.round(ns / 100) / 10;
  return {
    gpus: gpus.map(({ workerId, gpuId }) => `W${workerId}-GPU${gpuId}`),
    omitted: Math.max(0, actions.gpus.size - MAX_TIMELINE_GPUS),
    endS: durationNs / SECOND,
    beginS: busy.length === 0 ? 0 : (busy.beginNs - beginNs) / SECOND,
    widthS: busy.widthNs / SECOND,
    infer: gpus.map(({ inferRow }) => percentages(actions, inferRow!)),
    load: gpus.map(({ loadRow }) => percentages(actions, loadRow!)),
    originS: -beginNs / SECOND,
    periodS: sample.periodNs / SECOND,
    windowS: sample.windowNs / SECOND,
    actions: {
      gpu: items.map(({ gpu }: { gpu: GpuStats }) => numbers.get(gpu)!),
      beginUs: items.map((item) => us(item.beginNs - beginNs)),
      durationUs: items.map(({ durationNs }) => us(durationNs)),
      expectedUs: items.map(({ expectedDurationNs }) => us(expectedDurationNs)),
      id: items.map(({ actionId }) => actionId),
      type: items.map(({ type }) => type),
      status: items.map(({ status }) => status),
      model: items.map(({ modelId }) => modelId),
      batch: items.map(({ batchSize }) => batchSize),
    },
  };
}

function percentages({ busy }: ActionStats, row: number): number[] {
  return Array.from(busy.row(row), (ns) => Math.min(100, Math.round(100 * ns / busy.widthNs)));
}

/** To six digits: more than a screen can show. */
function round(value: number): number {
  return Number(value.toPrecision(6));
}
