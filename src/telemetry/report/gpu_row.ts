/** A row of the report's table of GPUs, for the terminal and the page. */
import { formatCount, formatPerBatch, formatShare } from "./format.ts";
import type { Report } from "./report.ts";

/** The columns after that of the GPU's name. */
export const GPU_COLUMNS = [
  "infer",
  "load",
  "batches",
  "requests",
  "per batch",
  "loads",
  "evictions",
  "failed",
] as const;

/** A GPU's name and its columns. */
export function gpuRow(gpu: Report["gpus"][number]): string[] {
  return [
    `W${gpu.workerId}-GPU${gpu.gpuId}`,
    formatShare(gpu.inferUtilization, 1),
    formatShare(gpu.loadUtilization, 1),
    formatCount(gpu.infers),
    formatCount(gpu.inferredRequests),
    formatPerBatch(gpu.inferredRequests, gpu.infers),
    formatCount(gpu.loads),
    formatCount(gpu.evictions),
    formatCount(gpu.failedActions),
  ];
}
