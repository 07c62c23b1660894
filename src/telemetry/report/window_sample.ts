/**
 * Keeps a bounded sample of events for closer inspection: everything that began in windows of equal length,
 * spread evenly over the whole time. At first the windows touch, and everything is kept. When it becomes
 * too much, every second window is dropped; when few are left, each is halved.
 */

/** With fewer windows than this, they are made shorter rather than fewer. */
const MIN_WINDOWS = 8;

export class WindowSample<Item extends { readonly beginNs: number }> {
  readonly #maxItems: number;
  #items: Item[] = [];
  #periodNs: number;
  #windowNs: number;
  #beginNs = Infinity;
  #endNs = -Infinity;

  constructor(maxItems: number, windowNs: number) {
    this.#maxItems = maxItems;
    this.#periodNs = this.#windowNs = windowNs;
  }

  get items(): readonly Item[] {
    return this.#items;
  }
  /** A window begins at every multiple of this. */
  get periodNs(): number {
    return this.#periodNs;
  }
  get windowNs(): number {
    return this.#windowNs;
  }

  /** Whether an item that begins then would be kept; it need not be made otherwise. */
  wants(beginNs: number): boolean {
    return beginNs - Math.floor(beginNs / this.#periodNs) * this.#periodNs < this.#windowNs;
  }

  add(item: Item): void {
    const { beginNs } = item;
    this.#beginNs = Math.min(this.#beginNs, beginNs);
    this.#endNs = Math.max(this.#endNs, beginNs);
    if (!this.wants(beginNs)) return;
    this.#items.push(item);
    // A window shorter than 1 ns would keep what happened at one moment, however much.
    while (this.#items.length > this.#maxItems && this.#windowNs > 1) {
      if ((this.#endNs - this.#beginNs) / this.#periodNs >= MIN_WINDOWS) this.#periodNs *= 2;
      else this.#windowNs /= 2;
      this.#items = this.#items.filter(({ beginNs }) => this.wants(beginNs));
    }
    if (this.#items.length > this.#maxItems) this.#items.length = this.#maxItems;
  }
}
