/**
 * Sums over time in bounded memory: a fixed number of bins of equal width, which doubles, and merges
 * neighbours, whenever the time that they cover is too short. Rows share the width and the bins.
 */
export class TimeBins {
  readonly #maxBins: number;
  readonly #rows: Float64Array[] = [];
  #widthNs: number;
  /** Bins are numbered from time 0, in units of the width; these are the first and last in use. */
  #first = 0;
  #last = -1;

  constructor(maxBins: number, widthNs: number) {
    this.#maxBins = maxBins;
    this.#widthNs = widthNs;
  }

  get widthNs(): number {
    return this.#widthNs;
  }
  /** Where the first bin begins. */
  get beginNs(): number {
    return this.#first * this.#widthNs;
  }
  get length(): number {
    return this.#last - this.#first + 1;
  }

  /** Adds a row and returns its number. */
  addRow(): number {
    return this.#rows.push(new Float64Array(this.#maxBins)) - 1;
  }

  /** A row's sums, one for each bin. */
  row(row: number): Float64Array {
    return this.#rows[row]!.subarray(0, this.length);
  }

  add(row: number, ns: number, amount: number): void {
    this.#cover(ns);
    this.#rows[row]![Math.floor(ns / this.#widthNs) - this.#first]! += amount;
  }

  /** Adds to each bin how much of it, in nanoseconds, lies between two times. */
  addSpan(row: number, beginNs: number, endNs: number): void {
    this.#cover(beginNs);
    this.#cover(endNs);
    const sums = this.#rows[row]!;
    const width = this.#widthNs;
    const last = Math.floor(endNs / width);
    for (let bin = Math.floor(beginNs / width); bin <= last; bin++) {
      const from = Math.max(beginNs, bin * width);
      const to = Math.min(endNs, (bin + 1) * width);
      sums[bin - this.#first]! += to - from;
    }
  }

  /** Doubles the width until there are at most `bins`. */
  coarsen(bins: number): void {
    while (this.length > Math.max(2, bins)) this.#double();
  }

  /** Makes sure that there is a bin for a time. */
  #cover(ns: number): void {
    let bin = Math.floor(ns / this.#widthNs);
    if (this.#last < this.#first) this.#first = this.#last = bin;
    if (bin >= this.#first && bin <= this.#last) return;
    while (Math.max(bin, this.#last) - Math.min(bin, this.#first) >= this.#maxBins) {
      this.#double();
      bin = Math.floor(ns / this.#widthNs);
    }
    if (bin < this.#first) {
      const shift = this.#first - bin;
      for (const sums of this.#rows) {
        sums.copyWithin(shift, 0, this.length);
        sums.fill(0, 0, shift);
      }
      this.#first = bin;
    }
    this.#last = Math.max(this.#last, bin);
  }

  #double(): void {
    const { length } = this;
    const first = Math.floor(this.#first / 2);
    for (const sums of this.#rows) {
      for (let i = 0; i < length; i++) {
        const amount = sums[i]!;
        sums[i] = 0;
        sums[Math.floor((this.#first + i) / 2) - first]! += amount;
      }
    }
    this.#first = first;
    this.#last = Math.floor(this.#last / 2);
    this.#widthNs *= 2;
  }
}
