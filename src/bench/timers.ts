/** Measures how late a clock's timers fire. */
import type { Clock } from "../core/clock.ts";
import { MS } from "../core/clock.ts";

/** As often as a GPU that executes one ResNet-50 after another needs one. */
const PERIOD_NS = 3.3 * MS;

/** How late `count` calls came, in nanoseconds: one at a time, each asked for after the one before. */
export function timerLatenessNs(clock: Clock, count: number): Promise<number[]> {
  const late: number[] = [];
  return new Promise((resolve) => {
    const next = () => {
      const dueNs = clock.now() + PERIOD_NS;
      clock.at(dueNs, () => {
        late.push(clock.now() - dueNs);
        if (late.length < count) next();
        else resolve(late);
      });
    };
    next();
  });
}
