// @ts-check
/** Seeded random numbers: pictures are the same on every machine with the same fonts and browser. */

export class Random {
  #state;

  /** @param {number} seed */
  constructor(seed) {
    this.#state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 0;
  }

  /** Uniform in [0, 1): mulberry32. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `least` to `most`. @param {number} least @param {number} most */
  int(least, most) {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  /** @param {number} least @param {number} most */
  between(least, most) {
    return least + this.next() * (most - least);
  }

  /** @param {number} probability */
  chance(probability) {
    return this.next() < probability;
  }

  /** @template T @param {readonly T[]} list @returns {T} */
  pick(list) {
    return list[this.int(0, list.length - 1)];
  }

  /** @template T @param {number} count @param {(index: number) => T} make */
  times(count, make) {
    return Array.from({ length: count }, (_, index) => make(index));
  }

  /** A color in CSS. @param {[number, number]} saturation @param {[number, number]} lightness in percent */
  color(saturation = [40, 90], lightness = [30, 60]) {
    return `hsl(${this.int(0, 359)} ${this.int(...saturation)}% ${this.int(...lightness)}%)`;
  }
}
