/**
 * Accounting of one GPU's device memory for weights, in pages.
 *
 * A model takes whole pages, and copies do not share them. All pages are equal, so that evicting any model
 * makes room for any other of the same size: there is no fragmentation, and the controller can predict
 * whether a load will fit by counting.
 */
export class WeightsCache {
  readonly pageBytes: number;
  #totalPages: number;
  #usedPages = 0;

  /** @param bytes device memory for weights; what does not fill a page is not used. */
  constructor(bytes: number, pageBytes: number) {
    this.pageBytes = pageBytes;
    this.#totalPages = Math.floor(bytes / pageBytes);
  }

  get totalPages(): number {
    return this.#totalPages;
  }

  get usedPages(): number {
    return this.#usedPages;
  }

  get freePages(): number {
    return this.#totalPages - this.#usedPages;
  }

  /** Bytes in whole pages. */
  get bytes(): number {
    return this.#totalPages * this.pageBytes;
  }

  /** Takes `pages`, or none and returns false when fewer are free. */
  reserve(pages: number): boolean {
    if (pages > this.freePages) return false;
    this.#usedPages += pages;
    return true;
  }

  /**
   * The device turned out to have no room for `pages` more: from now on no more are promised than can be
   * had. Other programs may take device memory too, of which nobody is told.
   */
  refused(pages: number): void {
    this.#totalPages = Math.min(this.#totalPages, this.#usedPages + Math.max(pages - 1, 0));
  }

  /** Gives back pages that {@link reserve} took. */
  release(pages: number): void {
    if (pages > this.#usedPages) {
      throw new RangeError(`released ${pages} pages of ${this.#usedPages} that were taken`);
    }
    this.#usedPages -= pages;
  }
}

/** Pages that this many bytes of weights take. */
export function pagesOf(bytes: number, pageBytes: number): number {
  return Math.ceil(bytes / pageBytes);
}
