import { type Clock, SECOND, type Timer } from "../../core/clock.ts";

/** Anything that takes longer than this is reported, and again whenever it has taken twice as long. */
const FIRST_PROGRESS_NS = 3 * SECOND;

/** Says now and then that `promise` is still awaited: `what` is what somebody is at meanwhile. */
export async function telling<T>(
  clock: Clock,
  tell: (line: string) => void,
  what: string,
  promise: Promise<T>,
): Promise<T> {
  const beginNs = clock.now();
  let timer: Timer;
  const tellAfter = (waitNs: number) => {
    timer = clock.at(beginNs + waitNs, () => {
      tell(`Still ${what}, for ${waitNs / SECOND} s`);
      tellAfter(2 * waitNs);
    });
  };
  tellAfter(FIRST_PROGRESS_NS);
  try {
    return await promise;
  } finally {
    timer!.cancel();
  }
}
