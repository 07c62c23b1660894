/** Status codes and action types in words, for people. */
import { ActionStatus, RequestStatus } from "../../core/status.ts";

export const LOAD_WEIGHTS = 1;
export const INFER = 2;
export const EVICT_WEIGHTS = 3;

const actionTypes: Readonly<Record<number, string>> = {
  [LOAD_WEIGHTS]: "LoadWeights",
  [INFER]: "Infer",
  [EVICT_WEIGHTS]: "EvictWeights",
};

export function actionTypeName(type: number): string {
  return actionTypes[type] ?? `type ${type}`;
}

export function requestStatusName(status: number): string {
  return nameOf(RequestStatus, status);
}

export function actionStatusName(status: number): string {
  return nameOf(ActionStatus, status);
}

/** `couldNotStartInTime` as "could not start in time". */
function nameOf(statuses: Readonly<Record<string, number>>, status: number): string {
  const found = Object.entries(statuses).find(([, code]) => code === status);
  if (found === undefined) return "unknown status";
  return found[0].replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
