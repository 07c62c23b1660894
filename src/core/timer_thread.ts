/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
/**
 * The thread behind the system clock: sleeps until the deadline that the main thread has set, then
 * wakes it. Sleeping in Atomics.wait is exact to some 0.1 ms, where setTimeout is late by 1 ms.
 */
import { type TimerMemory, WORD } from "./timer_memory.ts";

self.onmessage = ({ data }: MessageEvent<TimerMemory>) => {
  const words = new Int32Array(data.words);
  const times = new Float64Array(data.times);
  // The two threads' performance.now() have different origins. Whatever the main thread wrote was
  // written before it is read here, so the smallest difference seen is the one nearest to the truth.
  let originDifferenceMs = Infinity;
  while (true) {
    const command = Atomics.load(words, WORD.command);
    const deadlineMs = times[0]!;
    if (Number.isNaN(deadlineMs)) return self.close();
    originDifferenceMs = Math.min(originDifferenceMs, performance.now() - times[1]!);
    const remainingMs = deadlineMs + originDifferenceMs - performance.now();
    if (remainingMs > 0) {
      // Returns early when the main thread has set another deadline meanwhile.
      Atomics.wait(words, WORD.command, command, remainingMs);
      if (Atomics.load(words, WORD.command) !== command) continue;
      if (deadlineMs + originDifferenceMs > performance.now()) continue;
    }
    Atomics.add(words, WORD.wake, 1);
    Atomics.notify(words, WORD.wake);
    Atomics.wait(words, WORD.command, command);
  }
};
