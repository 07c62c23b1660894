/**
 * Seeded pseudo-random numbers: xoshiro128** (Blackman and Vigna, 2018), with its state filled by
 * splitmix32 from the seed. Not for secrets.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** The same seed gives the same numbers on any machine. Only its lowest 32 bits count. */
  constructor(seed: number) {
    let state = seed | 0;
    const splitmix = () => {
      state = (state + 0x9e3779b9) | 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return z ^ (z >>> 15);
    };
    this.#a = splitmix();
    this.#b = splitmix();
    this.#c = splitmix();
    this.#d = splitmix();
  }

  /** A generator with these 128 bits as its state: for numbers that nobody else may come upon. */
  static ofState(state: Uint32Array): Random {
    const random = new Random(0);
    const [a = 0, b = 0, c = 0, d = 0] = state;
    random.#a = a;
    random.#b = b;
    random.#c = c;
    // All zeros would be followed by zeros for ever.
    random.#d = d | 1;
    return random;
  }

  /** An integer in [0, 2^32). */
  uint32(): number {
    const scaled = Math.imul(this.#b, 5);
    const result = Math.imul((scaled << 7) | (scaled >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** A number in [0, 1), of 53 random bits. */
  float(): number {
    return (this.uint32() * 0x20_0000 + (this.uint32() >>> 11)) / 0x20_0000_0000_0000;
  }

  /** An integer in [0, bound), bound at most 2^32. */
  below(bound: number): number {
    return Math.floor(this.float() * bound);
  }

  /** A number of the exponential distribution with this mean: gaps of a Poisson process. */
  exponential(mean: number): number {
    return -mean * Math.log1p(-this.float());
  }

  /** A generator independent of this one for all practical purposes. */
  fork(): Random {
    return new Random(this.uint32());
  }
}
