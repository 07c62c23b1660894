/** Memory shared by the system clock and its thread. */
export interface TimerMemory {
  /** Two Int32 words, see {@link WORD}. */
  readonly words: SharedArrayBuffer;
  /** Two Float64: the deadline (NaN: end), and the time at which it was set; in ms of the main thread. */
  readonly times: SharedArrayBuffer;
}

/** What the words count. */
export const WORD = {
  /** Deadlines set by the main thread. */
  command: 0,
  /** Deadlines that have passed. */
  wake: 1,
} as const;
