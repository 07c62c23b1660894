/** Reads the memory that nodes report in their metrics. */

const TIMEOUT_MS = 5_000;

export interface Memory {
  readonly residentBytes: number;
  readonly heapBytes: number;
  /** CPU time so far. */
  readonly cpuS: number;
}

/** What a node's metrics tell of its process; null when it does not answer. */
export async function memoryOf(metricsPort: number): Promise<Memory | null> {
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(`http://127.0.0.1:${metricsPort}/metrics`, { signal });
    const text = await response.text();
    const value = (name: string) => {
      const found = new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1];
      if (found === undefined) throw new Error(`no ${name} among the metrics`);
      return Number(found);
    };
    return {
      residentBytes: value("process_resident_memory_bytes"),
      heapBytes: value("clockwork_heap_bytes"),
      cpuS: value("process_cpu_seconds_total"),
    };
  } catch (error) {
    // It may be starting or ending. Anything else is a fault of ours.
    if (error instanceof TypeError || (error as Error).name === "TimeoutError") return null;
    throw error;
  }
}
