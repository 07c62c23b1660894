/** For tests: logs as text, and as files in memory. */
import {
  actionColumns,
  type ActionRecord,
  requestColumns,
  type RequestRecord,
} from "../records.ts";
import type { Columns } from "../records.ts";
import { headerOf } from "../tsv_log.ts";
import type { LogFile } from "./report.ts";

/** The second in which the logs' clock began. */
export const EPOCH_S = 1_700_000_000;
const epochNs = (ns: number) =>
  (BigInt(EPOCH_S) * 1_000_000_000n + BigInt(Math.round(ns))).toString();

function text<Row>(columns: Columns<Row>, rows: readonly Row[]): string {
  return headerOf(columns) +
    rows.map((row) => columns.map(([, read]) => read(row)).join("\t") + "\n").join("");
}

export function requestLog(records: readonly RequestRecord[]): string {
  return text(requestColumns(epochNs), records);
}

export function actionLog(records: readonly ActionRecord[]): string {
  return text(actionColumns(epochNs), records);
}

/** A file that comes in pieces of this size. */
export function memoryFile(name: string, content: string, pieceBytes = 1000): LogFile {
  const bytes = new TextEncoder().encode(content);
  const chunks = Array.from(
    { length: Math.ceil(bytes.length / pieceBytes) },
    (_, i) => bytes.subarray(i * pieceBytes, (i + 1) * pieceBytes),
  );
  return { name, chunks };
}
