import { setImmediate } from "node:timers";

/** Lets this thread handle messages that have arrived; setTimeout would take a millisecond longer. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
