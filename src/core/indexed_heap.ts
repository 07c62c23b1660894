/** A binary heap in which any item can be removed or given another rank. */
export class IndexedHeap<T> {
  readonly #items: T[] = [];
  readonly #before: (a: T, b: T) => boolean;
  readonly #moved: (item: T, index: number) => void;

  /**
   * @param before whether `a` must leave the heap before `b`.
   * @param moved told the index at which an item now lies, for {@link remove} and {@link update}; -1: it left.
   */
  constructor(before: (a: T, b: T) => boolean, moved: (item: T, index: number) => void) {
    this.#before = before;
    this.#moved = moved;
  }

  get size(): number {
    return this.#items.length;
  }

  /** The item that is before all others. */
  get first(): T | undefined {
    return this.#items[0];
  }

  /** The items, in no particular order; do not change the heap while reading them. */
  items(): readonly T[] {
    return this.#items;
  }

  add(item: T): void {
    this.#items.push(item);
    this.#rise(item, this.#items.length - 1);
  }

  /** Takes out the item that lies at `index`. */
  remove(index: number): void {
    const items = this.#items;
    const removed = items[index];
    if (removed === undefined) throw new RangeError(`no item at index ${index} of ${items.length}`);
    const last = items.pop()!;
    this.#moved(removed, -1);
    if (removed === last) return;
    if (index > 0 && this.#before(last, items[(index - 1) >> 1]!)) this.#rise(last, index);
    else this.#sink(last, index);
  }

  /** Takes note that the item at `index` now ranks differently. */
  update(index: number): void {
    const item = this.#items[index];
    if (item === undefined) throw new RangeError(`no item at index ${index} of ${this.size}`);
    if (index > 0 && this.#before(item, this.#items[(index - 1) >> 1]!)) this.#rise(item, index);
    else this.#sink(item, index);
  }

  #rise(item: T, index: number): void {
    const items = this.#items;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = items[parentIndex]!;
      if (!this.#before(item, parent)) break;
      items[index] = parent;
      this.#moved(parent, index);
      index = parentIndex;
    }
    items[index] = item;
    this.#moved(item, index);
  }

  #sink(item: T, index: number): void {
    const items = this.#items;
    for (;;) {
      let childIndex = 2 * index + 1;
      if (childIndex >= items.length) break;
      const right = childIndex + 1;
      if (right < items.length && this.#before(items[right]!, items[childIndex]!)) {
        childIndex = right;
      }
      const child = items[childIndex]!;
      if (!this.#before(child, item)) break;
      items[index] = child;
      this.#moved(child, index);
      index = childIndex;
    }
    items[index] = item;
    this.#moved(item, index);
  }
}
