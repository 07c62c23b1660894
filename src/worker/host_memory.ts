/**
 * Host memory that inputs and outputs of waiting actions may take: without a limit, a controller that
 * sends faster than the GPUs run would fill the machine.
 */
export class HostMemory {
  readonly limitBytes: number;
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Takes `bytes`, or none and returns false when too few are left. */
  take(bytes: number): boolean {
    if (bytes > this.limitBytes - this.#usedBytes) return false;
    this.#usedBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#usedBytes -= bytes;
  }
}
