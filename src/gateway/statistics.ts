/** This gateway's statistics of each model: Triton's statistics extension. */

interface Counter {
  count: number;
  ns: number;
}

/** Of one version of a model. */
export interface VersionStatistics {
  /** Milliseconds since 1970; 0 for never. */
  lastInferenceMs: number;
  /** Inferences that succeeded: a batch counts as its requests. */
  inferences: number;
  /** Requests over HTTP, and the time from their having come to their being answered. */
  readonly success: Counter;
  readonly fail: Counter;
  /** Of what succeeded, the time from the controller's having been asked to its answer. */
  clusterNs: number;
}

/** Versions that statistics are kept of; what was used longest ago is forgotten. */
const MAX_VERSIONS = 10_000;

export class Statistics {
  /** By name and version: another controller may give a version's number to another model. */
  readonly #versions = new Map<string, VersionStatistics>();

  of(name: string, version: string): VersionStatistics {
    return this.#versions.get(keyOf(name, version)) ??
      { lastInferenceMs: 0, inferences: 0, success: zero(), fail: zero(), clusterNs: 0 };
  }

  succeeded(
    name: string,
    version: string,
    inferences: number,
    durationNs: number,
    clusterNs: number,
    epochMs: number,
  ): void {
    const statistics = this.#touch(name, version);
    statistics.clusterNs += Math.round(clusterNs);
    statistics.lastInferenceMs = Math.round(epochMs);
    statistics.inferences += inferences;
    add(statistics.success, durationNs);
  }

  failed(name: string, version: string, durationNs: number): void {
    add(this.#touch(name, version).fail, durationNs);
  }

  #touch(name: string, version: string): VersionStatistics {
    const statistics = this.of(name, version);
    const key = keyOf(name, version);
    this.#versions.delete(key);
    this.#versions.set(key, statistics);
    if (this.#versions.size > MAX_VERSIONS) {
      const [oldest] = this.#versions.keys();
      this.#versions.delete(oldest!);
    }
    return statistics;
  }
}

function keyOf(name: string, version: string): string {
  return `${version} ${name}`;
}

function zero(): Counter {
  return { count: 0, ns: 0 };
}

function add(counter: Counter, ns: number): void {
  counter.count++;
  counter.ns += Math.round(ns);
}

/**
 * As Triton's statistics extension says it. What only the workers know has no time: how long requests waited is
 * part of `compute_infer`. The queue has a count all the same, since `perf_analyzer` tells by it which version
 * of a model it has measured.
 */
export function toJson(name: string, version: string, statistics: VersionStatistics): object {
  const { lastInferenceMs, inferences, success, fail, clusterNs } = statistics;
  return {
    name,
    version,
    last_inference: lastInferenceMs,
    inference_count: inferences,
    execution_count: inferences,
    inference_stats: {
      success,
      fail,
      queue: { count: success.count, ns: 0 },
      compute_input: zero(),
      compute_infer: { count: success.count, ns: clusterNs },
      compute_output: zero(),
      cache_hit: zero(),
      cache_miss: zero(),
    },
    batch_stats: [],
    memory_usage: [],
  };
}
